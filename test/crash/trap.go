// Package crash looks at what is left of an image store when a command dies, or the machine's power fails, at any of the
// system calls by which the command changes the disk.
//
// The real programs run under a seccomp filter that hands each such call to this process before the kernel carries it
// out. So nothing in the programs knows of the test, and no call of theirs can be forgotten.
package crash

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call that waits for our permission.
type call struct {
	thread int
	nr     int
	args   [6]uint64
}

// fd is the file behind an argument, as a path that may be opened or followed by stat.
func (c call) fd(arg int) string {
	n := int32(c.args[arg])
	if n == unix.AT_FDCWD {
		return fmt.Sprintf("/proc/%d/cwd", c.thread)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", c.thread, n)
}

// path is the path that an argument points to, as this process can use it.
func (c call) path(dir, arg int) (string, error) {
	text, err := c.text(arg)
	if err != nil {
		return "", err
	}
	switch {
	case filepath.IsAbs(text):
		return fmt.Sprintf("/proc/%d/root%s", c.thread, text), nil
	case dir < 0:
		return fmt.Sprintf("/proc/%d/cwd/%s", c.thread, text), nil
	case text == "": // AT_EMPTY_PATH
		return c.fd(dir), nil
	}
	return c.fd(dir) + "/" + text, nil
}

// text reads a C string of the other process.
func (c call) text(arg int) (string, error) {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.thread))
	if err != nil {
		return "", err
	}
	defer mem.Close()
	var buf [unix.PathMax]byte
	n, err := mem.ReadAt(buf[:], int64(c.args[arg]))
	if n == 0 {
		return "", err
	}
	return unix.ByteSliceToString(buf[:n]), nil
}

// errStop is what a watcher returns to have all processes killed before the call at hand is carried out.
var errStop = errors.New("stop here")

// starterEnv makes this test's program the one that puts the filter on itself and then becomes the command.
const starterEnv = "LOPER_CRASH_STARTER"

// starter becomes the command after the filter is in place.
func starter() {
	runtime.LockOSThread()
	fail := func(what string, err error) {
		fmt.Fprintln(os.Stderr, "crash starter:", what, err)
		os.Exit(99)
	}
	prog, err := filter()
	if err != nil {
		fail("filter:", err)
	}
	sock := os.NewFile(3, "socket")
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		fail("seccomp:", errno)
	}
	// sendmsg is none of the calls that wait.
	if err := unix.Sendmsg(int(sock.Fd()), []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		fail("send the listener:", err)
	}
	unix.CloseOnExec(3)
	unix.CloseOnExec(int(listener))
	os.Unsetenv(starterEnv)
	fail("execve:", unix.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// run runs a command and asks watch before each call that may change a disk. With errStop the whole family of processes
// is killed; killed tells that this happened. Another error of watch ends the test.
func run(watch func(call) error, env []string, argv ...string) (killed bool, output []byte, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	said, err := os.CreateTemp("", "loper-crash-")
	if err != nil {
		return false, nil, err
	}
	defer said.Close()
	os.Remove(said.Name())
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append(os.Environ(), starterEnv+"=1"), env...)
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{theirs}, said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // for the parent death signal
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		theirs.Close()
		return false, nil, err
	}
	theirs.Close()
	listener, err := receive(ours)
	if err == nil {
		killed, err = supervise(listener, cmd.Process.Pid, watch)
		listener.Close()
	}
	waitErr := cmd.Wait()
	text := make([]byte, 1<<20)
	n, _ := said.ReadAt(text, 0)
	if err == nil && !killed && waitErr != nil {
		err = fmt.Errorf("%q: %w: %s", argv, waitErr, text[:n])
	}
	return killed, text[:n], err
}

func receive(sock *os.File) (*os.File, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(sock.Fd()), buf, oob, 0)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("the command did not start: %v", net.ErrClosed)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "listener"), nil
}

// notification is struct seccomp_notif of linux/seccomp.h.
type notification struct {
	id     uint64
	thread uint32
	flags  uint32
	nr     int32
	arch   uint32
	ip     uint64
	args   [6]uint64
}

// answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// supervise answers until all processes under the filter have ended.
func supervise(listener *os.File, leader int, watch func(call) error) (killed bool, err error) {
	fd := listener.Fd()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return killed, os.NewSyscallError("poll", err)
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents&unix.POLLHUP != 0 {
				return killed, err // nobody is left below the filter
			}
			continue
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			if errno == unix.ENOENT || errno == unix.EINTR {
				continue // it was killed while it waited
			}
			return killed, os.NewSyscallError("receive a notification", errno)
		}
		if !killed {
			if werr := watch(call{int(n.thread), int(n.nr), n.args}); werr != nil {
				killed = true
				if werr != errStop {
					err = werr
				}
				kill(leader, int(n.thread))
			}
		}
		if killed {
			continue // the kernel forgets the call with its caller
		}
		a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a))); errno != 0 && errno != unix.ENOENT {
			return killed, os.NewSyscallError("answer a notification", errno)
		}
	}
}

// kill ends the command, its children and whoever asked for the call, which may be a worker of the command's.
func kill(leader, thread int) {
	for _, pid := range append(descendants(leader), leader, thread) {
		unix.Kill(pid, unix.SIGKILL)
	}
}

func descendants(pid int) (all []int) {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}
