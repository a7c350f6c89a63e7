package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/internal/userns"
	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The test binary is lope when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("LOPE_TEST_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// box is a bundle with a busybox and a directory of states.
type box struct {
	t            testing.TB
	root, bundle string
	spec         *specs.Spec
}

func newBox(t testing.TB) *box {
	t.Helper()
	if !userns.Privileged() {
		t.Skip("needs root: it makes cgroups and mounts")
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox of Debian's busybox-static: ", err)
	}
	dir := t.TempDir()
	b := &box{t: t, root: filepath.Join(dir, "state"), bundle: filepath.Join(dir, "bundle")}
	bin := filepath.Join(b.bundle, "rootfs", "bin")
	b.must(os.MkdirAll(bin, 0o755))
	b.must(os.WriteFile(filepath.Join(bin, "busybox"), busybox, 0o755))
	for _, name := range []string{"sh", "cat", "sleep", "id", "true", "echo", "ls", "stty", "test", "readlink"} {
		b.must(os.Symlink("busybox", filepath.Join(bin, name)))
	}
	data, err := runtime.Example(false)
	b.must(err)
	b.spec, err = runtime.ParseSpec(data)
	b.must(err)
	b.spec.Process.Terminal, b.spec.Root.Readonly = false, false
	b.spec.Linux.CgroupsPath = "/loper-test-" + strings.ReplaceAll(t.Name(), "/", "_") + fmt.Sprint(os.Getpid())
	b.program("true")
	t.Cleanup(func() {
		for _, id := range strings.Fields(b.lope("list", "-q").out) {
			b.lope("delete", "--force", id)
		}
	})
	return b
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// write writes the config.json as it is by now.
func (b *box) write() {
	b.t.Helper()
	data, err := json.Marshal(b.spec)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.bundle, "config.json"), data, 0o600))
}

func (b *box) program(args ...string) {
	b.t.Helper()
	b.spec.Process.Args = args
	b.write()
}

// command is a lope that can't outlive the test for long.
func (b *box) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--root", b.root}, args...)...)
	cmd.Env = append(os.Environ(), "LOPE_TEST_MAIN=1")
	cmd.Dir = b.bundle
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

type result struct {
	out, err string
	code     int
}

func (b *box) lope(args ...string) result {
	b.t.Helper()
	return b.finish(b.command(args...))
}

// finish runs a command whose output goes to files: a detached container keeps
// its streams, and a pipe would be waited for.
func (b *box) finish(cmd *exec.Cmd) result {
	b.t.Helper()
	read := func() (*os.File, func() string) {
		f, err := os.CreateTemp(b.t.TempDir(), "")
		b.must(err)
		return f, func() string {
			defer f.Close()
			data, err := os.ReadFile(f.Name())
			b.must(err)
			return string(data)
		}
	}
	stdout, out := read()
	stderr, errs := read()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatal(err)
	}
	return result{out(), errs(), cmd.ProcessState.ExitCode()}
}

// want runs lope and checks its exit status and a part of what it says.
func (b *box) want(code int, says string, args ...string) result {
	b.t.Helper()
	r := b.lope(args...)
	if r.code != code || !strings.Contains(r.out+r.err, says) {
		b.t.Errorf("lope %q: %+v, want status %d and %q", args, r, code, says)
	}
	if code != 0 && strings.Count(r.err, "\n") > 1 {
		b.t.Errorf("lope %q says more than a line: %q", args, r.err)
	}
	return r
}

func (b *box) state(id string) specs.State {
	b.t.Helper()
	r := b.want(0, id, "state", id)
	var s specs.State
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		b.t.Errorf("state %q: %v", r.out, err)
	}
	return s
}

// host is what a container could leave on the host.
func (b *box) host() string {
	b.t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	b.must(err)
	var mounts []string
	for line := range strings.Lines(string(table)) {
		others := strings.Contains(line, os.TempDir()) || strings.Contains(line, "/loper-test-vm/")
		if !others || strings.Contains(line, b.bundle) { // others may be at work
			mounts = append(mounts, line)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + b.spec.Linux.CgroupsPath + "*")
	b.must(err)
	return fmt.Sprintf("%s\ncgroups %v\nprocesses %v\n", strings.Join(mounts, ""), groups, b.processes())
}

// processes are those that live in the container's cgroups.
func (b *box) processes() (pids []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	b.must(err)
	for _, dir := range dirs {
		group, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(group), b.spec.Linux.CgroupsPath) {
			continue
		}
		// A dead one may wait for init to reap it.
		if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil && exe != "" {
			pids = append(pids, dir)
		}
	}
	return pids
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 5 s: %s", what)
}

func memoryLimit(bytes int64) *specs.LinuxMemory { return &specs.LinuxMemory{Limit: &bytes} }
