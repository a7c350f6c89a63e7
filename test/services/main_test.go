// Package services_test runs real services of Debian's (nginx, redis, PostgreSQL) in containers on two networks and lets
// real clients use them: by name from other containers, and through a published port from outside of the host.
package services_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

var loper string

func TestMain(m *testing.M) { os.Exit(env.Reaped(func() int { return testMain(m) })) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loper-services-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755) // the ordinary user runs them too
	programs := os.Getenv("LOPER_PROGRAMS")
	if programs == "" {
		programs = filepath.Join(dir, "bin")
		if err := env.Build(programs); err != nil {
			fmt.Println(err)
			return 1
		}
		if err := env.BuildNet(programs); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	loper = filepath.Join(programs, "loper")
	host := env.Snapshot(env.Look{Programs: programs})
	code := m.Run()
	if diff := host.Settle(10 * time.Second); len(diff) > 0 && code == 0 {
		fmt.Printf("the tests left something behind:\n%s\n", strings.Join(diff, "\n"))
		return 1
	}
	return code
}

// tarball is the root file system with all three services, kept between runs.
func tarball(t *testing.T) string {
	t.Helper()
	dir, err := env.Cache("services")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bookworm.tar")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	env.Need(t, "mmdebstrap")
	args := []string{"--quiet", "--variant=minbase", "--format=tar", "--include=nginx-light,redis-server,postgresql,netcat-openbsd,iproute2"}
	for _, excluded := range []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/lib/*/libLLVM*", "/usr/lib/postgresql/*/lib/bitcode/*"} {
		args = append(args, "--dpkgopt=path-exclude="+excluded)
	}
	var out []byte
	for range 3 { // a mirror may fail once
		out, err = exec.Command("mmdebstrap", append(args, "bookworm", path+".part")...).CombinedOutput()
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("mmdebstrap: %v: %s", err, out)
	}
	if err := os.Rename(path+".part", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// engine is loper with directories of its own, in a network namespace that is its host.
type engine struct {
	t    *testing.T
	dir  string
	host *env.Netns
	user *env.User // nil: root
}

func newEngine(t *testing.T, host *env.Netns, user *env.User) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "loper-services-")
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t, dir, host, user}
	for _, name := range []string{"", "root", "run", "home"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if user != nil {
			if err := user.Own(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(e.close)
	return e
}

func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(loper, append([]string{"--root", filepath.Join(e.dir, "root"), "--runroot", filepath.Join(e.dir, "run")}, args...)...)
	if e.user != nil {
		e.user.Command(cmd)
	}
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(e.dir, "home"), "XDG_RUNTIME_DIR="+filepath.Join(e.dir, "run"))
	return cmd
}

// try runs loper in the host's namespace and gives what it wrote, both streams.
func (e *engine) try(args ...string) (string, error) {
	e.t.Helper()
	var out bytes.Buffer
	var err error
	e.host.Do(func() {
		cmd := e.command(args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err = cmd.Start(); err != nil {
			return
		}
		patience := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer patience.Stop()
		err = cmd.Wait()
	})
	return strings.TrimSpace(out.String()), err
}

// importFrom makes the image of a file that the engine's user may not be able to open.
func (e *engine) importFrom(path string) {
	e.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	cmd := e.command("import", "-", image)
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("loper import: %v: %s", err, out)
	}
}

func (e *engine) must(args ...string) string {
	e.t.Helper()
	out, err := e.try(args...)
	if err != nil {
		e.t.Fatalf("loper %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// eventually runs a command in a container until what it says has want in it.
func (e *engine) eventually(want, container string, command ...string) {
	e.t.Helper()
	var out string
	for range 150 {
		var err error
		out, err = e.try(append([]string{"exec", container}, command...)...)
		if err == nil && strings.Contains(out, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	logs := ""
	for _, name := range strings.Fields(e.must("ps", "-a", "--format", "{{.Names}}")) {
		said, _ := e.try("logs", name)
		logs += "\n" + name + ":\n" + said
	}
	e.t.Fatalf("%s in %s never said %q, but %q%s", strings.Join(command, " "), container, want, out, logs)
}

// close removes all that the engine has, by its own commands, and looks whether something is left in the host's namespace.
func (e *engine) close() {
	if ids, err := e.try("ps", "-aq"); err == nil && ids != "" {
		e.try(append([]string{"rm", "--force"}, strings.Fields(ids)...)...)
	}
	e.try("network", "prune", "--force")
	e.try("rmi", "--all", "--force")
	e.host.Do(func() {
		var left []byte
		for range 100 { // a container's interfaces go when the kernel has ended its namespace
			left, _ = exec.Command("sh", "-c", "ip -o link | grep -v -e ' lo:' -e ' eth0'; nft list ruleset").CombinedOutput()
			if len(left) == 0 {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		e.t.Errorf("left in the host's network:\n%s", left)
	})
	env.UnmountBelow(e.dir)
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}
