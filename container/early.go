package container

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"loper.run/container/attach"
	"loper.run/network/usernet"
)

// A monitor is a program that has to start before it can start a container. One
// that is started early does so while its container is still being made: it
// knows the directory, and waits to be told that the files there tell all. Then it
// prepares the start, and waits once more: until what they name is ready.

// waiting is a monitor that waits. It ends by itself when we do.
type waiting struct {
	id     string // of the container that it is for
	pid    int
	socket *os.File       // the other end of what it is told on, and reports on
	client *attach.Client // its first client, or nil
}

// StartMonitor starts a monitor for the container that this engine makes next,
// which is then started with the same options. Abandon ends it otherwise.
func (e *Engine) StartMonitor(o StartOptions) (err error) {
	e.early, err = e.spawn(newID(), o)
	return err
}

// Abandon ends what StartMonitor started, unless its container was.
func (e *Engine) Abandon() {
	if e.early != nil {
		e.early.abandon()
		e.early = nil
	}
}

// monitorFor is a waiting monitor for the container: the one that was started
// early, or another.
func (e *Engine) monitorFor(c *Container, o StartOptions) (*waiting, error) {
	w := e.early
	if w == nil || w.id != c.ID || (w.client != nil) != o.Attach {
		return e.spawn(c.ID, o)
	}
	e.early = nil
	return w, nil
}

// spawn starts a monitor.
func (e *Engine) spawn(id string, o StartOptions) (_ *waiting, err error) {
	program, err := monitorProgram()
	if err != nil {
		return nil, err
	}
	w := &waiting{id: id}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	w.socket = os.NewFile(uintptr(pair[0]), "monitor")
	theirs := []*os.File{os.NewFile(uintptr(pair[1]), "monitor")}
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			w.close()
		}
	}()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	if o.Attach {
		client, first, err := attach.Pair()
		if err != nil {
			return nil, err
		}
		w.client, theirs = client, append(theirs, first)
	}
	files := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	for _, f := range theirs {
		files = append(files, f.Fd())
	}
	// Not os.StartProcess: its first use in a process tries pidfds on a child
	// made for that.
	w.pid, err = syscall.ForkExec(program, []string{program, "monitor", e.path(containerDir, id)}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{defaultPath}, // nothing of the caller's environment is its business
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start the monitor: %w", err)
	}
	return w, nil
}

// prepare tells the monitor to prepare its container's start, and hands it what
// it is to hold of the user's networks, nil: nothing.
func (w *waiting) prepare(s *usernet.Space) error { return w.tell(s) }

// release tells the monitor that its container is ready. It is not waited for
// any more; its report comes on the socket.
func (w *waiting) release() error {
	err := w.tell(nil)
	go reap(w.pid) // in case we live longer than the container
	return err
}

// reap waits for a child, without a thread of its own where the kernel can.
func reap(pid int) {
	if fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err == nil {
		f := os.NewFile(uintptr(fd), "monitor")
		defer f.Close()
		ended := func(uintptr) bool {
			n, _ := syscall.Wait4(pid, nil, unix.WNOHANG, nil)
			return n != 0
		}
		if raw, err := f.SyscallConn(); err == nil && raw.Read(ended) == nil {
			return
		}
	}
	syscall.Wait4(pid, nil, 0, nil)
}

func (w *waiting) tell(s *usernet.Space) error {
	if err := s.Send(w.socket, []byte{1}); err != nil && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("tell the monitor: %w", err)
	}
	return nil // one that is dead has no report
}

// abandon ends a monitor that was not released.
func (w *waiting) abandon() {
	w.close()
	syscall.Wait4(w.pid, nil, 0, nil)
}

func (w *waiting) close() {
	w.socket.Close()
	if w.client != nil {
		w.client.Close()
	}
}
