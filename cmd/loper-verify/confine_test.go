package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the program, and a program that was taken over.
func TestMain(m *testing.M) {
	switch os.Getenv("LOPER_VERIFY_TEST") {
	case "program":
		main()
		os.Exit(0)
	case "taken over":
		if err := confineSelf(); err != nil {
			fmt.Println("not confined:", err)
			os.Exit(1)
		}
		for _, said := range escapes(os.Getpid()) {
			fmt.Println(said)
		}
		os.Exit(0)
	case "busy":
		if err := confineSelf(); err != nil {
			os.Exit(1)
		}
		for garbage := [][]byte{}; ; { // memory, and with it time
			garbage = append(garbage, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
	os.Exit(m.Run())
}

// escapes tries what a parser that was taken over would, on a thread that was there before and on new ones, and returns
// what succeeded.
func escapes(pid int) (succeeded []string) {
	parent := os.Getppid()
	try := func(name string, err error) {
		if err == nil {
			succeeded = append(succeeded, name)
		}
	}
	attempts := func() {
		_, err := os.ReadFile("/etc/passwd")
		try("read a file", err)
		try("write a file", os.WriteFile("/tmp/loper-verify-was-here", nil, 0o600))
		try("make a directory", os.Mkdir("/tmp/loper-verify-was-here", 0o700))
		try("remove a file", os.Remove(os.Getenv("LOPER_VERIFY_VICTIM")))
		c, err := net.Dial("tcp", os.Getenv("LOPER_VERIFY_PORT"))
		if err == nil {
			c.Close()
		}
		try("connect", err)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			l.Close()
		}
		try("listen", err)
		_, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		try("make a socket", err)
		try("start a program", exec.Command("/bin/true").Run())
		try("replace itself", unix.Exec("/bin/true", []string{"true"}, nil))
		_, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		try("fork", reason(errno))
		try("signal its parent", unix.Kill(parent, 0))
		try("signal a thread of its parent", unix.Tgkill(parent, parent, 0))
		try("trace its parent", unix.PtraceAttach(parent))
		try("be somebody else", unix.Setuid(1))
		try("raise a limit", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}))
		try("enter a namespace", unix.Unshare(unix.CLONE_NEWUSER))
		try("mount", unix.Mount("none", "/tmp", "tmpfs", 0, ""))
		_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
		try("map memory to be executed", err)
		memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			succeeded = append(succeeded, "no memory at all: "+err.Error())
			return
		}
		try("make memory executable", unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC))
		_, _, errno = unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		try("make an io_uring", reason(errno))
		_, _, errno = unix.RawSyscall(0x40000000|unix.SYS_GETPID, 0, 0, 0)
		try("call by x32's numbers", reason(errno))
		_, err = unix.MemfdCreate("x", 0)
		try("make a file in memory", err)
	}
	attempts()
	for range 20 {
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with it, so that the next one is new
			attempts()
			close(done)
		}()
		<-done
	}
	if os.Getpid() != pid {
		succeeded = append(succeeded, "a fork came here")
	}
	return succeeded
}

func reason(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func self(t *testing.T, as string, env ...string) *exec.Cmd {
	t.Helper()
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == unix.ENOTSUP {
		t.Skip("needs CGO_ENABLED=0, as make has it")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, "LOPER_VERIFY_TEST="+as)...)
	return cmd
}

// A parser that was taken over can do nothing but compute and answer.
func TestTakenOver(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := self(t, "taken over", "LOPER_VERIFY_VICTIM="+victim, "LOPER_VERIFY_PORT="+l.Addr().String()).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v; it could:\n%s", err, out)
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error(err)
	}
}

// One that takes all memory it gets ends soon, and harms nobody.
func TestTakesTooMuch(t *testing.T) {
	var stderr bytes.Buffer
	cmd := self(t, "busy")
	cmd.Stderr = &stderr
	begin := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("%v", err)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%v after %s and %d kB: %.200s", err, time.Since(begin), usage.Maxrss, &stderr)
	if usage.Maxrss*1024 > maxMemory+64<<20 || time.Since(begin) > maxTime+5*time.Second {
		t.Errorf("%d kB, %s", usage.Maxrss, time.Since(begin))
	}
}

func program(t *testing.T, stdin string) (answer, string, error) {
	t.Helper()
	cmd := self(t, "program")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var a answer
	if err == nil {
		if bad := json.Unmarshal(stdout.Bytes(), &a); bad != nil || strings.Count(stdout.String(), "\n") != 1 {
			t.Errorf("answer %q: %v", &stdout, bad)
		}
	}
	return a, stderr.String(), err
}
