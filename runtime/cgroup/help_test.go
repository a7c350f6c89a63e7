package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

// TestMain lets the test binary be the process in the group: it reads commands and does them.
func TestMain(m *testing.M) {
	if os.Getenv("CGROUP_TEST_CHILD") != "" {
		child()
		return
	}
	if n, err := strconv.Atoi(os.Getenv("CGROUP_TEST_JOIN")); err == nil {
		runtime.LockOSThread()
		t0 := time.Now()
		for i := range n {
			if _, err := unix.Write(3+i, []byte("0")); err != nil {
				panic(err)
			}
		}
		fmt.Println(time.Since(t0).Nanoseconds())
		b, err := os.ReadFile("/proc/thread-self/cgroup")
		fmt.Print(string(b), err)
		return
	}
	os.Exit(m.Run())
}

// child does one command a line: "open PATH", "mem MIB", "fork N" (N sleeping children), "spin MS".
func child() {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	var keep [][]byte
	for in.Scan() {
		verb, arg, _ := strings.Cut(in.Text(), " ")
		n, _ := strconv.Atoi(arg)
		var err error
		switch verb {
		case "open":
			var f *os.File
			if f, err = os.OpenFile(arg, os.O_RDWR, 0); err == nil {
				f.Close()
			}
		case "mem":
			b := make([]byte, n<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			keep = append(keep, b)
		case "fork":
			for range n {
				if err = exec.Command("sleep", "1000").Start(); err != nil {
					break
				}
			}
		case "spin":
			for end := time.Now().Add(time.Duration(n) * time.Millisecond); time.Now().Before(end); {
			}
		}
		fmt.Println(verb, err)
	}
	runtime.KeepAlive(keep)
}

// join starts a process that is born in and moves itself into the groups, as the launcher's child does. It gives the
// time that the moving took, and where the process then was.
func join(t testing.TB, j *Join) (time.Duration, map[string]string) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "CGROUP_TEST_JOIN="+strconv.Itoa(len(j.Tasks)))
	for _, fd := range j.Tasks {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), "tasks")
		defer f.Close()
		c.ExtraFiles = append(c.ExtraFiles, f)
	}
	if j.CloneFD >= 0 {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: j.CloneFD}
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ns, groups, _ := strings.Cut(string(out), "\n")
	n, err := strconv.Atoi(ns)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n), parseOwn(groups)
}

type proc struct {
	*exec.Cmd
	in  *os.File
	out *bufio.Scanner
}

// start runs a child. It ends with the test.
func start(t testing.TB) *proc {
	t.Helper()
	inR, inW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "CGROUP_TEST_CHILD=1")
	c.Stdin, c.Stdout, c.Stderr = inR, outW, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	inR.Close()
	outW.Close()
	p := &proc{c, inW, bufio.NewScanner(outR)}
	t.Cleanup(func() {
		inW.Close()
		_ = c.Process.Kill()
		_ = c.Wait()
		outR.Close()
	})
	if !p.out.Scan() {
		t.Fatal("the child did not start")
	}
	return p
}

// do sends one command and gives the answer; "" when the child died of it.
func (p *proc) do(command string) string {
	fmt.Fprintln(p.in, command)
	if !p.out.Scan() {
		return ""
	}
	_, answer, _ := strings.Cut(p.out.Text(), " ")
	return answer
}

var serial atomic.Int32

// unique is a name that no other test on this machine uses.
func unique() string {
	return fmt.Sprintf("loper-test-%d-%d", os.Getpid(), serial.Add(1))
}

func needV1(t testing.TB) {
	t.Helper()
	if Detect() != V1 {
		t.Skipf("needs root and cgroup v1 or hybrid: this is %v", Detect())
	}
}

// onHost gives a v1 manager as here does.
func onHost(t testing.TB, path string) *v1 {
	t.Helper()
	needV1(t)
	return here(t, path).(*v1)
}

// here gives a manager of the machine's own mode. It is destroyed at the end, with everybody in it killed.
func here(t testing.TB, path string) Manager {
	t.Helper()
	if os.Geteuid() != 0 || Detect() == None {
		t.Skip("needs root: makes cgroups")
	}
	m, err := New(path, Detect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Kill(syscall.SIGKILL)
		if err := m.Destroy(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// unified gives a v2 manager on the machine's real cgroup2 hierarchy, whatever mode it is in.
func unified(t testing.TB) *v2 {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes cgroups")
	}
	for _, root := range []string{mountRoot, filepath.Join(mountRoot, "unified")} {
		if fsType(root) == unix.CGROUP2_SUPER_MAGIC && writable(root) {
			m := &v2{group: group{root, unique()}}
			t.Cleanup(func() {
				_ = m.Kill(syscall.SIGKILL)
				if err := m.Destroy(); err != nil {
					t.Error(err)
				}
			})
			return m
		}
	}
	t.Skip("needs a writable cgroup2 hierarchy")
	return nil
}

func content(t testing.TB, dir, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func missing(t testing.TB, m Manager) {
	t.Helper()
	for c, dir := range m.Paths() {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%q: %s is still there", c, dir)
		}
	}
}

var noDevices = &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
