package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// networkOperations are commands that change networks and what containers have of them, and what they may say when what
// they are to do has been done.
func networkOperations() []networkOperation {
	made := [][]string{{"network", "create", "left"}, {"network", "create", "right"}}
	runs := append(made, []string{"run", "-d", "--name", "web", "--network", "left", "-p", "80", "busybox", "sleep", "1000"})
	connected := append(runs, []string{"network", "connect", "--alias", "x", "right", "web"})
	return []networkOperation{
		{"create", nil, []string{"network", "create", "left"}, "already exists"},
		{"the first look", nil, []string{"network", "ls"}, ""},
		{"rm", made, []string{"network", "rm", "left"}, "No such network"},
		{"prune", made, []string{"network", "prune", "-f"}, ""},
		{"connect", runs, []string{"network", "connect", "--alias", "x", "right", "web"}, "already exists"},
		{"disconnect", connected, []string{"network", "disconnect", "right", "web"}, "is not connected"},
		{"rename", connected, []string{"rename", "web", "www"}, "No such container"},
		{"run", made, []string{"run", "--rm", "--network", "left", "--network", "right", "-p", "80", "-p", "81", "busybox", "true"}, ""},
	}
}

type networkOperation struct {
	name  string
	setUp [][]string
	argv  []string
	done  string
}

// networks is a world with networks: a namespace that is the host, and an image.
type networks struct {
	*world
	host *env.Netns
	tar  string
}

func newNetworks(t *testing.T) *networks {
	env.NeedRoot(t)
	env.Need(t, "ip")
	n := &networks{world: &world{t: t, mount: t.TempDir()}, host: env.TestNetns(t), tar: filepath.Join(t.TempDir(), "root.tar")}
	if err := unix.Mount("crash", n.mount, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skip("needs mounts: ", err)
	}
	t.Cleanup(func() { unix.Unmount(n.mount, unix.MNT_DETACH) })
	files, err := env.BusyboxFiles()
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(n.tar, env.Tar(files...), 0o600); err != nil {
		t.Fatal(err)
	}
	n.fresh(operation{setUp: [][]string{{"import", n.tar, "busybox"}}})
	t.Cleanup(func() { n.host.Do(func() { n.clear() }) })
	return n
}

// clear removes all containers and networks by the commands for it, and says what is left then.
func (n *networks) clear() error {
	if ids, err := n.loper(n.root(), "ps", "-aq"); err != nil {
		return err
	} else if ids := strings.Fields(ids); len(ids) > 0 {
		if _, err := n.loper(n.root(), append([]string{"rm", "-f"}, ids...)...); err != nil {
			return err
		}
	}
	// The second makes and removes one, and thus sweeps.
	for _, args := range [][]string{{"network", "prune", "-f"}, {"network", "create", "sweep"}, {"network", "rm", "sweep"}} {
		if _, err := n.loper(n.root(), args...); err != nil {
			return err
		}
	}
	var left []string
	for _, pattern := range []string{"root/network/*", "run/network/*/*/*", "run/network/*/*/.*"} {
		found, _ := filepath.Glob(filepath.Join(n.mount, pattern))
		for _, path := range found {
			if name := filepath.Base(path); name != "bridge" && name != ".ula" {
				left = append(left, path)
			}
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("left: %v", left)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command("ip", "-br", "link").CombinedOutput()
		if err != nil || strings.Count(string(out), "\n") == 1 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interfaces are left: %s", out)
		}
	}
}

// begin clears, and does what comes before an operation.
func (n *networks) begin(o networkOperation) error {
	err := n.clear()
	for _, args := range o.setUp {
		if err == nil {
			_, err = n.loper(n.root(), args...)
		}
	}
	return err
}

// Commands that are killed before any of the changes of their files leave networks that are whole, what they were about to
// do can be done, and when all is removed nothing is left.
func TestNetworksKilled(t *testing.T) {
	n := newNetworks(t)
	for _, o := range networkOperations() {
		t.Run(o.name, func(t *testing.T) {
			n.t = t
			n.host.Do(func() { n.killed(o) })
		})
	}
}

func (n *networks) killed(o networkOperation) {
	command := n.command(n.root(), o.argv...)
	total, tried := 0, 0
	err := n.begin(o)
	if err == nil {
		_, _, err = run(n.each(func(call, int) error { total++; return nil }), nil, command...)
	}
	for _, at := range sample(total) {
		if err == nil {
			err = n.begin(o)
		}
		if err != nil {
			break
		}
		var dead bool
		dead, _, err = run(n.each(func(_ call, i int) error {
			if i == at {
				return errStop
			}
			return nil
		}), nil, command...)
		if dead {
			tried++
		}
		if err == nil {
			err = n.again(o)
		}
		if err != nil {
			err = fmt.Errorf("killed before change %d of %d: %w", at, total, err)
		}
	}
	n.t.Logf("%d changes, killed at %d of them", total, tried)
	if tried == 0 || err != nil {
		n.t.Errorf("killed %d times: %v", tried, err)
	}
}

// again checks that the networks are whole, that the operation can be done, and that nothing is left when all is removed.
func (n *networks) again(o networkOperation) error {
	if _, err := n.loper(n.root(), "network", "ls"); err != nil {
		return err
	}
	if _, err := n.loper(n.root(), o.argv...); err != nil && (o.done == "" || !strings.Contains(err.Error(), o.done)) {
		return err
	}
	return n.clear()
}
