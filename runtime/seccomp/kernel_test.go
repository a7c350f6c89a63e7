package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// childEnv makes the test binary load a filter and try calls instead.
const childEnv = "SECCOMP_TEST_CHILD"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(childEnv); mode {
	case "":
	case "cold":
		coldChild()
		return
	default:
		child(mode)
		return
	}
	os.Exit(m.Run())
}

func load(f Filter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(f.Insns)), Filter: (*unix.SockFilter)(unsafe.Pointer(&f.Insns[0]))}
	// Unlike a container's init, this process has threads.
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		f.Flags|unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

func child(mode string) {
	var s *specs.LinuxSeccomp
	switch mode {
	case "default":
		s = Default(dockerCaps)
	case "long":
		s = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
		for i := range 450 {
			s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"socket"}, Action: specs.ActErrno,
				Args: []specs.LinuxSeccompArg{{Index: 0, Value: uint64(i) + 100, Op: specs.OpEqualTo}, {Index: 1, Value: uint64(i), Op: specs.OpEqualTo}}})
		}
	case "x32":
		s = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	}
	f, err := Compile(s, runtime.GOARCH)
	if err == nil {
		err = load(f)
	}
	if err != nil {
		fmt.Println("load:", err)
		os.Exit(1)
	}
	try := func(name string, nr uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		fmt.Printf("%s: %d\n", name, int(errno))
	}
	switch mode {
	case "default":
		try("socket unix", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
		try("socket inet", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0)
		try("socket netlink", unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, 0)
		try("socket alg", unix.SYS_SOCKET, unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		try("socket vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		try("io_uring_setup", unix.SYS_IO_URING_SETUP, 1, 0)
		try("keyctl", unix.SYS_KEYCTL, 0, 0)
		try("add_key", unix.SYS_ADD_KEY, 0, 0)
		try("userfaultfd", unix.SYS_USERFAULTFD, 0)
		try("bpf", unix.SYS_BPF, 0, 0, 0)
		try("unshare", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
		try("clone3", unix.SYS_CLONE3, 0, 0)
		try("future", 999)
		try("getpid", unix.SYS_GETPID)
		if out, err := exec.Command("/proc/self/exe", "-test.run", "^$").CombinedOutput(); err != nil {
			fmt.Printf("exec: %v %s\n", err, out)
		} else {
			fmt.Println("exec: 0")
		}
	case "long":
		try("socket 100 0", unix.SYS_SOCKET, 100, 0, 0)
		try("socket 549 449", unix.SYS_SOCKET, 549, 449, 0)
		try("socket 549 448", unix.SYS_SOCKET, 549, 448, 0)
	case "x32":
		try("x32 getpid", 0x40000000+39)
	}
}

func runChild(t *testing.T, mode string) (string, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	out, err := cmd.CombinedOutput()
	if strings.HasPrefix(string(out), "load:") {
		if strings.Contains(string(out), "function not implemented") {
			t.Skipf("needs a kernel with seccomp filters: %s", out)
		}
		t.Fatalf("%s", out)
	}
	return string(out), err
}

func TestKernelDefault(t *testing.T) {
	out, err := runChild(t, "default")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := map[string]syscall.Errno{
		"socket unix": 0, "socket inet": 0, "socket netlink": 0, "getpid": 0, "exec": 0,
		"socket alg": unix.EPERM, "socket vsock": unix.EPERM, "io_uring_setup": unix.EPERM,
		"keyctl": unix.EPERM, "add_key": unix.EPERM, "userfaultfd": unix.EPERM, "bpf": unix.EPERM,
		"unshare": unix.EPERM, "clone3": unix.ENOSYS, "future": unix.ENOSYS,
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		name, errno, _ := strings.Cut(line, ": ")
		if w, ok := want[name]; !ok || errno != fmt.Sprint(int(w)) {
			t.Errorf("%s; want errno %d", line, int(w))
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d answers, want %d:\n%s", len(lines), len(want), out)
	}
}

// The kernel's own check of a program is stricter than the simulator's.
func TestKernelLongProgram(t *testing.T) {
	out, err := runChild(t, "long")
	want := "socket 100 0: 1\nsocket 549 449: 1\nsocket 549 448: 22\n"
	if err != nil || out != want {
		t.Errorf("%v\n%s\nwant:\n%s", err, out, want)
	}
}

func TestKernelKillsUnlistedABI(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skipf("x32 is amd64's, this is %s", runtime.GOARCH)
	}
	out, err := runChild(t, "x32")
	var exit *exec.ExitError
	if err == nil || out != "" {
		t.Fatalf("it lived: %v %s", err, out)
	}
	if exit, _ = err.(*exec.ExitError); exit == nil || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGSYS {
		t.Errorf("%v, want SIGSYS", err)
	}
}
