package main

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"loper.run/internal/fdpass"
	"loper.run/runtime"

	"golang.org/x/sys/unix"
)

// notifier passes the readiness of a container's program on to the supervisor
// that named its socket in NOTIFY_SOCKET (sd_notify(3)). A nil one has nothing
// to do.
type notifier struct {
	host string
	conn *os.File // the container's socket
}

// listenNotify makes the container's socket. It comes before the program.
func listenNotify(c *runtime.Container) (*notifier, error) {
	host, path := os.Getenv("NOTIFY_SOCKET"), c.NotifySocket()
	if host == "" || path == "" {
		return nil, nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	n := &notifier{host, os.NewFile(uintptr(fd), path)}
	err = socketAt(path, func(a *unix.SockaddrUnix) error { return unix.Bind(fd, a) })
	if err == nil {
		err = os.Chmod(path, 0o777) // any user of the container may be ready
	}
	if err != nil {
		n.close()
		return nil, &os.PathError{Op: "listen for the container's readiness at", Path: path, Err: err}
	}
	return n, nil
}

func (n *notifier) close() {
	if n != nil {
		n.conn.Close()
	}
}

// forward waits for the program to be ready, or to end, and tells the
// supervisor, with the program's process id if that is to be watched from now
// on.
func (n *notifier) forward(c *runtime.Container, watch bool) error {
	if n == nil {
		return nil
	}
	pid := c.Pid()
	ended, err := c.Pidfd()
	if err != nil {
		return nil // it has ended
	}
	defer ended.Close()
	fds := []unix.PollFd{{Fd: int32(n.conn.Fd()), Events: unix.POLLIN}, {Fd: int32(ended.Fd()), Events: unix.POLLIN}}
	buf := make([]byte, 4096)
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		if fds[0].Revents != 0 {
			size, _, err := unix.Recvfrom(int(n.conn.Fd()), buf, 0)
			if err != nil {
				return os.NewSyscallError("recvfrom", err)
			}
			if ready := readyLine(buf[:size]); ready != "" {
				return n.tell(ready, pid, watch)
			}
		} else if fds[1].Revents != 0 {
			return nil
		}
	}
}

// readyLine finds the assignment of READY in a message.
func readyLine(message []byte) string {
	for line := range bytes.SplitSeq(message, []byte("\n")) {
		if bytes.HasPrefix(line, []byte("READY=")) {
			return string(line)
		}
	}
	return ""
}

// tell speaks to the supervisor and waits until it has read all: it looks the
// sender up, which would be gone.
func (n *notifier) tell(ready string, pid int, watch bool) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	connect := func(a *unix.SockaddrUnix) error { return unix.Connect(fd, a) }
	if strings.HasPrefix(n.host, "@") {
		err = connect(&unix.SockaddrUnix{Name: n.host})
	} else {
		err = socketAt(n.host, connect)
	}
	if err != nil {
		return &os.PathError{Op: "connect to NOTIFY_SOCKET", Path: n.host, Err: err}
	}
	messages := []string{ready}
	if watch {
		messages = append(messages, "MAINPID="+strconv.Itoa(pid))
	}
	for _, m := range messages {
		if err := unix.Sendto(fd, []byte(m+"\n"), unix.MSG_NOSIGNAL, nil); err != nil {
			return os.NewSyscallError("send to NOTIFY_SOCKET", err)
		}
	}
	return barrier(fd)
}

// barrierTimeout bounds the wait for a supervisor that knows no barriers.
const barrierTimeout = 5000 // ms

// barrier sends a pipe's end, which the supervisor closes when it comes to it
// (sd_notify_barrier(3)).
func barrier(fd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	err = fdpass.Send(fd, "BARRIER=1", int(w.Fd()))
	w.Close()
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(r.Fd())}}, barrierTimeout)
	if err == unix.EINTR {
		return nil
	}
	return os.NewSyscallError("poll", err)
}
