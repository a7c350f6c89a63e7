package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Another id, and other cgroups with it.
func TestRestoreUnderAnotherID(t *testing.T) {
	b := newCounter(t)
	b.detached("run", "-d", "c")
	b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "--leave-running", "c")
	b.want(0, "", "delete", "--force", "c")
	stopped := b.count()
	b.spec.Linux.CgroupsPath += "-other"
	b.write()
	b.detached("restore", "-d", "--image-path", images, "d")
	b.counts(stopped)
	b.want(1, "does not exist", "state", "c")
	s := b.state("d")
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.Pid))
	if err != nil || !strings.Contains(string(group), b.spec.Linux.CgroupsPath+"\n") {
		t.Errorf("the restored process is in %q, %v", group, err)
	}
	b.want(0, "::/\n", "exec", "d", "cat", "/proc/self/cgroup")
}

func TestPreDump(t *testing.T) {
	b := newCounter(t)
	b.detached("run", "-d", "c")
	n := b.counts(0)
	first, second := b.images(), b.images()
	b.want(0, "", "checkpoint", "--pre-dump", "--image-path", first, "c")
	b.counts(max(n, b.count()))
	parent, err := filepath.Rel(second, first)
	b.must(err)
	b.want(0, "", "checkpoint", "--image-path", second, "--parent-path", parent, "c")
	stopped := b.count()
	b.detached("restore", "-d", "--image-path", second, "c")
	b.counts(stopped)
}

// A connection over loopback inside of the container goes on.
func TestCheckpointTCP(t *testing.T) {
	b := newCounter(t)
	b.must(os.Symlink("busybox", filepath.Join(b.bundle, "rootfs/bin/nc")))
	b.program("sh", "-c", "nc -ll -p 7000 -e cat & sleep 0.3; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | nc 127.0.0.1 7000 | while read n; do ln -s $n /count.new; mv /count.new /count; done")
	b.detached("run", "-d", "c")
	b.counts(0)
	images := b.images()
	b.want(1, "criu dump failed", "checkpoint", "--image-path", images, "c")
	if _, err := os.Stat(images); !os.IsNotExist(err) {
		t.Errorf("a failed checkpoint leaves its directory: %v", err)
	}
	b.counts(b.count())
	b.want(0, "", "checkpoint", "--image-path", images, "--tcp-established", "c")
	stopped := b.count()
	b.detached("restore", "-d", "--image-path", images, "--tcp-established", "c")
	b.counts(stopped)
}

// The standard streams may be files of the host, which are no container's.
func TestCheckpointFilesAsStreams(t *testing.T) {
	b := newCounter(t)
	b.program("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done")
	out := filepath.Join(b.bundle, "out")
	run := func(args ...string) {
		t.Helper()
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		b.must(err)
		defer f.Close()
		cmd := b.command(args...)
		cmd.Stdout, cmd.Stderr = f, f
		if err := cmd.Run(); err != nil {
			said, _ := os.ReadFile(out)
			t.Fatalf("lope %q: %v: %s", args, err, said)
		}
	}
	lines := func() int {
		data, err := os.ReadFile(out)
		b.must(err)
		return strings.Count(string(data), "\n")
	}
	run("run", "-d", "c")
	eventually(t, "it counts", func() bool { return lines() > 3 })
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	stopped := lines()
	run("restore", "-d", "--image-path", images, "c")
	eventually(t, "it goes on", func() bool { return lines() > stopped+3 })
}

func TestCheckpointTerminal(t *testing.T) {
	b := newCounter(t)
	path := filepath.Join(b.bundle, "console")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	b.must(err)
	defer unix.Close(fd)
	b.must(unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	b.must(unix.Listen(fd, 1))
	master := func() *os.File {
		t.Helper()
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		b.must(err)
		socket := os.NewFile(uintptr(conn), "console")
		defer socket.Close()
		m, err := receiveMaster(socket)
		b.must(err)
		t.Cleanup(func() { m.Close() })
		return m
	}
	b.spec.Process.Terminal = true
	b.program("sh", "-c", "while read line; do echo got $line; done")
	b.want(0, "", "run", "-d", "--console-socket", path, "c")
	talk := func(m *os.File, in *bufio.Reader, say string) {
		t.Helper()
		fmt.Fprintln(m, say)
		for _, want := range []string{say, "got " + say} {
			line, err := in.ReadString('\n')
			if err != nil || strings.TrimSpace(line) != want {
				t.Fatalf("the terminal says %q, %v, want %q", line, err, want)
			}
		}
	}
	old := master()
	talk(old, bufio.NewReader(old), "one")
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	b.want(0, "", "restore", "-d", "--image-path", images, "--console-socket", path, "c")
	restored := master()
	talk(restored, bufio.NewReader(restored), "two")
}

// Lope waits for a restored container as for another.
func TestRestoreInForeground(t *testing.T) {
	b := newCounter(t)
	b.program("sh", "-c", "while ! test -e /end; do sleep 0.05; done; exit 7")
	b.detached("run", "-d", "c")
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	b.must(os.WriteFile(filepath.Join(b.bundle, "rootfs/end"), nil, 0o644))
	cmd := b.command("restore", "--image-path", images, "c")
	in, inW, err := os.Pipe()
	b.must(err)
	out, outW, err := os.Pipe()
	b.must(err)
	defer func() { in.Close(); inW.Close(); out.Close(); outW.Close() }()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, outW, outW
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("restore ends with %v", err)
	}
	b.want(1, "does not exist", "state", "c")
}

// A container of the foreground ends with its lope, and so does a restored one.
func TestCheckpointOfForeground(t *testing.T) {
	b := newCounter(t)
	in, inW, err := os.Pipe()
	b.must(err)
	out, outW, err := os.Pipe()
	b.must(err)
	defer func() { in.Close(); inW.Close(); out.Close(); outW.Close() }()
	start := func(args ...string) *exec.Cmd {
		cmd := b.command(args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, outW, outW
		b.must(cmd.Start())
		return cmd
	}
	run := start("run", "c")
	b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	if err := run.Wait(); run.ProcessState.ExitCode() != 137 {
		t.Errorf("run ends with %v", err)
	}
	stopped := b.count()
	b.want(1, "restore it without --detach", "restore", "-d", "--image-path", images, "c")
	restore := start("restore", "--image-path", images, "c")
	b.counts(stopped)
	b.must(restore.Process.Kill())
	restore.Wait()
	eventually(t, "the container ends with lope", func() bool { return b.state("c").Status == specs.StateStopped })
}

func TestRestoreHooks(t *testing.T) {
	b := newCounter(t)
	said := filepath.Join(b.bundle, "hooks")
	hook := func(name string) []specs.Hook {
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo " + name + " $(cat) >> " + said}}}
	}
	b.spec.Hooks = &specs.Hooks{CreateRuntime: hook("createRuntime"), StartContainer: nil, Poststart: hook("poststart"), Poststop: hook("poststop")}
	b.write()
	b.detached("run", "-d", "c")
	b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	b.detached("restore", "-d", "--image-path", images, "c")
	pid := b.state("c").Pid
	b.want(0, "", "delete", "--force", "c")
	data, err := os.ReadFile(said)
	b.must(err)
	var got []string
	for line := range strings.Lines(string(data)) {
		name, state, _ := strings.Cut(line, " ")
		var s specs.State
		b.must(json.Unmarshal([]byte(state), &s))
		got = append(got, name+" "+string(s.Status))
		if len(got) > 3 && s.Status != specs.StateStopped && s.Pid != pid {
			t.Errorf("%s hears of process %d, want %d", name, s.Pid, pid)
		}
	}
	once := "createRuntime creating, poststart running, poststop stopped"
	if want := once + ", " + once; strings.Join(got, ", ") != want {
		t.Errorf("hooks: %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestRestoreThatFails(t *testing.T) {
	b := newCounter(t)
	b.detached("run", "-d", "c")
	b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	before := b.host()
	nothing := func(what string) {
		t.Helper()
		if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
			t.Errorf("%s leaves %v", what, entries)
		}
		if after := b.host(); after != before {
			t.Errorf("after %s:\n%s\nbefore:\n%s", what, after, before)
		}
	}
	b.want(1, "no such file", "restore", "--image-path", "/nowhere", "c")
	nothing("no images")
	b.want(1, "criu restore failed", "restore", "-d", "--image-path", t.TempDir(), "c")
	nothing("an empty directory")
	b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/false"}}}
	b.write()
	b.want(1, "hooks.createRuntime[0]", "restore", "-d", "--image-path", images, "c")
	nothing("a hook that fails")
	b.spec.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/bin/false"}}}
	b.write()
	b.want(1, "hooks.poststart[0]", "restore", "-d", "--image-path", images, "c")
	nothing("a last hook that fails")
	b.spec.Hooks = nil
	b.write()
	stopped := b.count()
	b.detached("restore", "-d", "--image-path", images, "c")
	b.counts(stopped)
	b.want(1, "exists already", "restore", "-d", "--image-path", images, "c")
	b.counts(b.count())
}

// Where criu can't work, lope says what it lacks, and the container goes on.
func TestCheckpointWithoutCRIU(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	b.want(0, "", "run", "-d", "c")
	b.spec.Linux.CgroupsPath = "" // the next one's own
	b.write()
	images := b.images()
	fails := func(says string, global ...string) {
		t.Helper()
		b.want(1, says, append(global, "checkpoint", "--image-path", images, "c")...)
		b.want(1, says, append(global, "restore", "-d", "--image-path", t.TempDir(), "d")...)
		if _, err := os.Stat(images); !os.IsNotExist(err) {
			t.Errorf("%s: there are images: %v", says, err)
		}
		b.want(1, "does not exist", "state", "d")
		if s := b.state("c"); s.Status != specs.StateRunning {
			t.Errorf("%s: the container is %s", says, s.Status)
		}
	}
	fails("is missing (--criu names its program)", "--criu", "/nowhere/criu")
	fails("criu ended without an answer", "--criu", "/bin/true")
	criu := []string{"--criu", "/bin/true"}
	refuse := func(says string, args ...string) {
		t.Helper()
		b.want(1, says, append(append(criu, "checkpoint", "--image-path", images), args...)...)
	}
	refuse(`--manage-cgroups-mode "some"`, "--manage-cgroups-mode", "some", "c")
	refuse(`--empty-ns "ipc"`, "--empty-ns", "ipc", "c")
	refuse("ADDRESS:PORT", "--page-server", "here", "c")
	b.want(0, "", "create", "d")
	refuse("only a running or paused", "d")
	b.want(0, "", "delete", "--force", "d")
	if _, err := exec.LookPath("criu"); err == nil && exec.Command("criu", "check").Run() != nil {
		fails("criu can't work here: ")
	}
}

// The flags that containerd, Docker and Podman give are all known.
func TestCheckpointFlagsOfEngines(t *testing.T) {
	b := newBox(t)
	b.program("sleep", "100")
	b.want(0, "", "run", "-d", "c")
	b.spec.Linux.CgroupsPath = ""
	b.write()
	dir := t.TempDir()
	images, work, empty := filepath.Join(dir, "images"), filepath.Join(dir, "work"), t.TempDir()
	const gone = "criu ended without an answer"
	shared := []string{"--tcp-established", "--ext-unix-sk", "--shell-job", "--file-locks", "--manage-cgroups-mode", "full", "--empty-ns", "network", "--auto-dedup", "--lazy-pages", "--work-path", work}
	checkpoint := append([]string{"--criu", "/bin/true", "--root", b.root, "--log", filepath.Join(dir, "log"), "--log-format", "json", "checkpoint", "--image-path", images}, shared...)
	b.want(1, gone, append(checkpoint, "--leave-running", "--link-remap", "--tcp-skip-in-flight", "--status-fd", "1", "--page-server", "127.0.0.1:2000", "--parent-path", "../p", "--pre-dump", "c")...)
	restore := append([]string{"--criu", "/bin/true", "restore", "--image-path", empty}, shared...)
	b.want(1, gone, append(restore, "--detach", "--bundle", b.bundle, "--pid-file", filepath.Join(dir, "pid"), "--no-subreaper", "--no-pivot", "--lsm-profile", "apparmor:x", "--lsm-mount-context", "y", "d")...)
	for _, path := range []string{images, work, filepath.Join(dir, "pid")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}
