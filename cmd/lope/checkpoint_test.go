package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// newCounter is a box whose program counts in the file /count.
func newCounter(t testing.TB) *box {
	t.Helper()
	b := newBox(t)
	if _, err := exec.LookPath("criu"); err != nil {
		t.Skip("needs the program criu")
	}
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		if kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease"); os.Getenv("LOPER_TEST_VM") != "" && strings.HasPrefix(string(kernel), "6.1.") {
			t.Fatalf("criu must work here: %s", out)
		}
		t.Skipf("needs a criu that knows this kernel: %s", strings.TrimSpace(string(out)))
	}
	// It counts in the target of a link: a file that it had open at the checkpoint would have to be there at the restore.
	b.program("sh", "-c", "i=0; while :; do i=$((i+1)); ln -s $i /count.new; mv /count.new /count; sleep 0.05; done")
	return b
}

func (b *box) count() int {
	target, _ := os.Readlink(filepath.Join(b.bundle, "rootfs/count")) // not there before the first
	n, _ := strconv.Atoi(target)
	return n
}

// counts waits until the counter is some steps beyond n.
func (b *box) counts(n int) int {
	b.t.Helper()
	eventually(b.t, "the counter goes on from "+strconv.Itoa(n), func() bool { return b.count() > n+2 })
	return b.count()
}

// detached runs lope with streams that are pipes, as an engine does.
func (b *box) detached(args ...string) {
	b.t.Helper()
	in, inW, err := os.Pipe()
	b.must(err)
	outR, out, err := os.Pipe()
	b.must(err)
	b.t.Cleanup(func() { in.Close(); inW.Close(); outR.Close(); out.Close() })
	cmd := b.command(args...)
	errs, err := os.CreateTemp(b.t.TempDir(), "")
	b.must(err)
	defer errs.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	if err := cmd.Run(); err != nil {
		b.must(outR.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
		said := make([]byte, 4096)
		n, _ := outR.Read(said)
		b.t.Fatalf("lope %q: %v: %s", args, err, said[:n])
	}
}

func (b *box) images() string { return filepath.Join(b.t.TempDir(), "images") }

func TestCheckpoint(t *testing.T) {
	b := newCounter(t)
	before := b.host()
	b.detached("run", "-d", "c")
	n := b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	b.want(1, "does not exist", "state", "c")
	if after := b.host(); after != before {
		t.Errorf("after the checkpoint:\n%s\nbefore:\n%s", after, before)
	}
	stopped := b.count()
	if stopped < n {
		t.Errorf("the counter was at %d and is at %d", n, stopped)
	}
	pids := filepath.Join(t.TempDir(), "pid")
	b.detached("restore", "-d", "--image-path", images, "--pid-file", pids, "c")
	s := b.state("c")
	if s.Status != specs.StateRunning {
		t.Errorf("the restored container is %s", s.Status)
	}
	if pid, err := os.ReadFile(pids); err != nil || string(pid) != strconv.Itoa(s.Pid) {
		t.Errorf("the pid file has %q, %v; the state %d", pid, err, s.Pid)
	}
	if again := b.counts(stopped); again > stopped+60 {
		t.Errorf("the counter went from %d to %d", stopped, again)
	}
	b.want(0, "count", "exec", "c", "ls", "/")
	b.want(0, "", "pause", "c")
	b.want(0, "", "resume", "c")
	b.want(0, "", "kill", "c", "KILL")
	eventually(t, "it ends", func() bool { return b.state("c").Status == specs.StateStopped })
	b.want(0, "", "delete", "c")
	if after := b.host(); after != before {
		t.Errorf("at the end:\n%s\nbefore:\n%s", after, before)
	}
}

func TestCheckpointLeaveRunning(t *testing.T) {
	b := newCounter(t)
	b.detached("run", "-d", "c")
	n := b.counts(0)
	b.want(0, "", "checkpoint", "--image-path", b.images(), "--leave-running", "c")
	b.counts(max(n, b.count()))
	if s := b.state("c"); s.Status != specs.StateRunning {
		t.Errorf("it is %s", s.Status)
	}
}

func TestCheckpointOfUserNamespace(t *testing.T) {
	b := newCounter(t)
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
	b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = ids, ids
	b.must(filepath.WalkDir(filepath.Join(b.bundle, "rootfs"), func(path string, d os.DirEntry, err error) error {
		return os.Lchown(path, 200000, 200000)
	}))
	for dir := b.bundle; dir != "/"; dir = filepath.Dir(dir) {
		if strings.HasPrefix(dir, os.TempDir()+"/") {
			b.must(os.Chmod(dir, 0o755))
		}
	}
	b.write()
	b.detached("run", "-d", "c")
	b.counts(0)
	images := b.images()
	b.want(0, "", "checkpoint", "--image-path", images, "c")
	stopped := b.count()
	b.detached("restore", "-d", "--image-path", images, "c")
	b.counts(stopped)
	b.want(0, "uid=0", "exec", "c", "id")
	info, err := os.Stat(images)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the images' directory is %v, %v", info.Mode(), err)
	}
}
