package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Files are the descriptors that a program needs from its parent, by name.
type Files map[string]*os.File

// Start forks a child that walks the program. The child is not yet the wanted
// program when Start returns: follow it with Next until io.EOF.
//
// cgroup is a cgroup v2 directory that the child is born in, or nil.
//
// When the child asked for a parent-death signal, the signal comes when the
// calling thread ends, so the caller keeps that thread (runtime.LockOSThread
// on the main one).
func Start(p *Program, files Files, cgroup *os.File) (*Process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "child"), os.NewFile(uintptr(pair[1]), Parent)
	defer theirs.Close()

	inputs := make(map[string]*os.File, len(files)+1)
	for name, f := range files {
		inputs[name] = f
	}
	inputs[Parent] = theirs
	im, err := assemble(p, inputs)
	if err != nil {
		ours.Close()
		return nil, err
	}
	w := &walker{steps: im.steps, slots: im.slots, socket: uintptr(pair[1]), foreign: foreign(im.inputs, p.Preserve), skin: im.skin}
	c := &clone{flags: p.Namespaces | unix.CLONE_PIDFD | uintptr(unix.SIGCHLD), cgroup: -1}
	if cgroup != nil {
		c.cgroup = int(cgroup.Fd())
		c.into = cloneArgs{
			flags:      uint64(p.Namespaces) | unix.CLONE_PIDFD | unix.CLONE_INTO_CGROUP,
			exitSignal: uint64(unix.SIGCHLD),
			cgroup:     uint64(c.cgroup),
		}
	}
	syscall.ForkLock.Lock()
	pid, errno := fork(c, w)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(im)
	runtime.KeepAlive(inputs)
	if errno != 0 {
		ours.Close()
		return nil, cloneError(p, errno, cgroup != nil)
	}
	return &Process{pid: pid, pidfd: os.NewFile(uintptr(c.pidfd), "pidfd"), socket: ours, program: p}, nil
}

// foreign are the gaps between the descriptors that a child keeps.
func foreign(inputs map[string]int, preserve int) []fdRange {
	kept := []int{2 + preserve}
	for _, fd := range inputs {
		if fd > 2+preserve {
			kept = append(kept, fd)
		}
	}
	slices.Sort(kept)
	var gaps []fdRange
	for i, fd := range kept {
		last := uintptr(^uint32(0))
		if i+1 < len(kept) {
			last = uintptr(kept[i+1] - 1)
		}
		if first := uintptr(fd + 1); first <= last {
			gaps = append(gaps, fdRange{first, last})
		}
	}
	return gaps
}

// cloneError says why a child with these namespaces can't be made, in a cgroup
// or not.
func cloneError(p *Program, errno syscall.Errno, cgroup bool) error {
	what := "clone"
	for _, name := range namespaceNames(p.Namespaces) {
		what += " " + name
	}
	if p.Namespaces != 0 {
		what += " (new namespaces)"
	}
	switch errno {
	case unix.EACCES:
		if cgroup {
			return fmt.Errorf("%s: %w: the container's cgroup can't be entered from this process's own; for an ordinary user both must lie in what was delegated, as below systemd-run --user --scope", what, errno)
		}
	case unix.EPERM, unix.ENOSPC, unix.EUSERS:
		if p.Namespaces&unix.CLONE_NEWUSER != 0 {
			return fmt.Errorf("%s: %w: user namespaces may be off; see the sysctls user.max_user_namespaces and kernel.unprivileged_userns_clone", what, errno)
		}
	}
	return fmt.Errorf("%s: %w", what, errno)
}

// Process is a child on its way through its program, and later that program.
type Process struct {
	pid     int
	pidfd   *os.File
	socket  *os.File
	program *Program
	execs   bool // it said that the execve comes next
}

// Pid is the process id in the caller's pid namespace.
func (c *Process) Pid() int { return c.pid }

// Pidfd refers to the process, whatever becomes of its id.
func (c *Process) Pidfd() *os.File { return c.pidfd }

// Next waits until the child announces something, and returns the Text of that
// Announce. It returns io.EOF once the child is the wanted program, and an
// *Error when an operation failed.
func (c *Process) Next() (string, error) {
	for {
		r, err := readReport(c.socket)
		switch {
		case errors.Is(err, io.EOF) && c.execs:
			return "", io.EOF
		case errors.Is(err, io.EOF):
			return "", ErrDied
		case err != nil:
			return "", err
		case int(r.index) >= len(c.program.Ops):
			return "", fmt.Errorf("the child reports operation %d of %d", r.index, len(c.program.Ops))
		}
		switch r.kind {
		case reportFailure:
			return "", &Error{Op: c.program.Ops[r.index], Errno: syscall.Errno(r.value)}
		case reportAnnounce:
			return c.program.Ops[r.index].Text, nil
		case reportExec:
			c.execs = true
		case reportPid:
			if err := c.adopt(int(r.value)); err != nil {
				return "", err
			}
		}
	}
}

// adopt follows the program into its second child, which waits for that.
func (c *Process) adopt(pid int) error {
	if err := c.reap(); err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		// Our child, not waited for: the id is its own.
		unix.Kill(pid, unix.SIGKILL)
		c.pid = pid
		return errors.Join(fmt.Errorf("open the second child %d: %w", pid, err), c.reap())
	}
	c.pidfd.Close()
	c.pid, c.pidfd = pid, os.NewFile(uintptr(fd), "pidfd")
	return c.Send()
}

// Send lets a child that awaits it go on, and gives it descriptors.
func (c *Process) Send(files ...*os.File) error {
	if len(files) > MaxFiles {
		return fmt.Errorf("%d descriptors are too many for one message", len(files))
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	err := unix.Sendmsg(int(c.socket.Fd()), []byte{1}, rights, nil, unix.MSG_NOSIGNAL)
	runtime.KeepAlive(files)
	return os.NewSyscallError("sendmsg to the child", err)
}

// Kill ends the process, whatever it is by now.
func (c *Process) Kill() error { return c.Signal(unix.SIGKILL) }

// Signal sends a signal to the process and never to another that got its id.
func (c *Process) Signal(s syscall.Signal) error {
	return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(int(c.pidfd.Fd()), s, nil, 0))
}

// Wait waits until the process ends and reaps it.
func (c *Process) Wait() (syscall.WaitStatus, error) {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.pid, &status, 0, nil)
		if err != syscall.EINTR {
			return status, os.NewSyscallError("wait4", err)
		}
	}
}

func (c *Process) reap() error {
	_, err := c.Wait()
	return err
}

// Abort ends and reaps a child whose start failed.
func (c *Process) Abort() {
	if c.Kill() == nil {
		_ = c.reap() // it is ours and has been killed: the wait can't fail
	}
	c.Close()
}

// Detach closes the socket to the child: nobody follows it any longer.
func (c *Process) Detach() { c.socket.Close() }

// Close releases the descriptors; the process goes on.
func (c *Process) Close() {
	c.socket.Close()
	c.pidfd.Close()
}
