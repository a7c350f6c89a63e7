package env

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Netns is a network namespace of a test's own.
type Netns struct{ file *os.File }

// NewNetns makes a network namespace with nothing but its loopback interface, which is up. Close, or the end of the
// process, ends it.
func NewNetns() (*Netns, error) {
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, fmt.Errorf("make a network namespace: %w", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		made <- result{f, err}
	}()
	r := <-made
	if r.err != nil {
		return nil, r.err
	}
	n := &Netns{r.file}
	if err := n.IP("link", "set", "lo", "up"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// TestNetns is NewNetns for a test, which is skipped, with the reason, where there can be none.
func TestNetns(t testing.TB) *Netns {
	t.Helper()
	NeedRoot(t)
	Need(t, "ip")
	n, err := NewNetns()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Close lets the namespace go. It ends with its last process.
func (n *Netns) Close() { n.file.Close() }

// File is a descriptor of the namespace.
func (n *Netns) File() *os.File { return n.file }

// Do calls f on a thread in the namespace. What f starts and opens is in it too; what it leaves to other goroutines is not.
func (n *Netns) Do(f func()) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		panic(fmt.Sprintf("join a network namespace: %v", err))
	}
}

// IP runs ip(8) in the namespace.
func (n *Netns) IP(args ...string) error {
	var out []byte
	var err error
	n.Do(func() { out, err = exec.Command("ip", args...).CombinedOutput() })
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Wire puts a cable between two namespaces. Each end is an interface of that name there, up, with addresses as
// 192.0.2.1/24.
func Wire(a *Netns, nameA string, addressesA []string, b *Netns, nameB string, addressesB []string) error {
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.file.Fd())
	if err := a.IP("link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", path); err != nil {
		return err
	}
	for _, end := range []struct {
		n         *Netns
		name      string
		addresses []string
	}{{a, nameA, addressesA}, {b, nameB, addressesB}} {
		if err := end.n.IP("link", "set", end.name, "up"); err != nil {
			return err
		}
		for _, address := range end.addresses {
			args := []string{"address", "add", address, "dev", end.name}
			if strings.Contains(address, ":") {
				args = append(args, "nodad")
			}
			if err := end.n.IP(args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// NetnsOf is a network namespace that somebody else made. It takes the descriptor over.
func NetnsOf(file *os.File) *Netns { return &Netns{file} }

// Setting writes a setting of the namespace below /proc/sys/net.
func (n *Netns) Setting(name, value string) (err error) {
	n.Do(func() { err = os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) })
	return err
}
