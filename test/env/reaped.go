package env

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// isReaped names the variable that a process of Reaped has.
const isReaped = "LOPER_TEST_REAPED"

// Reaped runs a test program's tests in a process of its own, while this one takes in processes whose parents have ended and
// waits for them at once. Process 1 of some machines takes seconds for that, and until then a container that had one of
// them does not end.
func Reaped(run func() int) int {
	if os.Getenv(isReaped) != "" {
		os.Unsetenv(isReaped)
		return run()
	}
	runtime.LockOSThread() // with this thread the tests end
	p, err := adopt()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			fmt.Println("wait for the tests:", err)
			return 1
		case pid == p.Pid && status.Signaled():
			fmt.Println("the tests:", status.Signal())
			return 1
		case pid == p.Pid:
			return status.ExitStatus()
		}
	}
}

// adopt starts this program again, and makes this process the parent of what its descendants leave.
func adopt() (*os.Process, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err)
	}
	program, err := os.Executable() // not /proc/self/exe: what it starts is called exe
	if err != nil {
		return nil, err
	}
	return os.StartProcess(program, os.Args, &os.ProcAttr{
		Env: append(os.Environ(), isReaped+"=1"), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
}
