package monitor

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/container/attach"
)

// newReal prepares a container of the runtime whose program is this test binary.
func newReal(t *testing.T, args ...string) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a container without a user namespace")
	}
	b := newBox(t, "")
	b.real = true
	b.c.ID = fmt.Sprintf("%s-%d", t.Name(), os.Getpid()) // its cgroups are the whole machine's
	if program, err := elf.Open("/proc/self/exe"); err == nil {
		defer program.Close()
		if libs, _ := program.ImportedLibraries(); len(libs) > 0 {
			t.Skip("needs a static test binary: set CGO_ENABLED=0")
		}
	}
	rootfs := filepath.Join(b.dir, "rootfs")
	os.Mkdir(rootfs, 0o755)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	prog, err := os.OpenFile(filepath.Join(rootfs, "prog"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(prog, self); err != nil {
		t.Fatal(err)
	}
	prog.Close()
	b.spec = &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Cwd: "/", Args: append([]string{"/prog"}, args...)},
		Linux: &specs.Linux{
			CgroupsPath: "/" + b.c.ID,
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace}},
		},
	}
	return b
}

func (b *box) startReal() *box {
	b.t.Helper()
	b.json("config.json", b.spec)
	return b.start()
}

func TestRealOutput(t *testing.T) {
	t.Parallel()
	b := newReal(t, "output", "100000").startReal()
	if e := b.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
	want, _ := io.ReadAll(much(100000))
	if out, _ := logOf(t, b); out != string(want) {
		t.Errorf("logged %d bytes", len(out))
	}
	if left, _ := os.ReadDir(filepath.Join(b.c.RuntimeRoot, b.c.ID)); len(left) != 0 {
		t.Errorf("left of the runtime's state: %v", left)
	}
}

func TestRealTerminal(t *testing.T) {
	t.Parallel()
	b := newReal(t, "echo")
	b.spec.Process.Terminal = true
	b.spec.Mounts = []specs.Mount{
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}},
	}
	b.c.Terminal, b.c.OpenStdin = true, true
	b.startReal()
	u := newUser(t, 30, 90)
	done := u.attach(b.attach(), "")
	u.WriteString("hello\r")
	u.screen.await(t, "hello\r\necho hello\r\n")
	b.replaced()
	u.WriteString("again\r\x04")
	u.screen.await(t, "again\r\necho again\r\n")
	if err := <-done; err != nil {
		t.Errorf("stream: %v", err)
	}
	if e := b.wait(); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
}

func TestRealNotThere(t *testing.T) {
	t.Parallel()
	b := newReal(t)
	b.spec.Process.Args = []string{"/missing"}
	b.json("config.json", b.spec)
	b.launch()
	if f := b.started(); f.Code != 127 || !strings.Contains(f.Error, "/missing") {
		t.Errorf("report %+v", f)
	}
}

// The runtime's container dies with its monitor too, though the monitor became
// another program meanwhile.
func TestRealMonitorKilled(t *testing.T) {
	t.Parallel()
	b := newReal(t, "echo")
	b.c.OpenStdin = true
	b.startReal().replaced()
	pid := b.pid()
	if !alive(pid) {
		t.Fatal("the container did not survive the replacement")
	}
	b.cmd.Kill()
	eventually(t, "the container died", func() bool { return !alive(pid) })
	b.cmd.Wait()
	// What a command does that finds this.
	e := realEngine()
	if err := e.remove(&b.c); err != nil {
		t.Errorf("clean up: %v", err)
	}
	if _, err := attach.Connect(b.c.RunDir); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v", err)
	}
}

func TestRealIdleMemory(t *testing.T) {
	b := newReal(t, "echo")
	b.c.OpenStdin = true
	b.startReal()
	young := memory(t, b.cmd.Pid, "Pss")
	b.replaced()
	time.Sleep(restAfter + 200*time.Millisecond)
	t.Logf("PSS %d kB after the start, %d kB at rest, %d kB private", young,
		memory(t, b.cmd.Pid, "Pss"), memory(t, b.cmd.Pid, "Private_Dirty"))
	syscall.Kill(b.pid(), syscall.SIGKILL)
	if e := b.wait(); e.Code != 137 {
		t.Errorf("exit %+v", e)
	}
}
