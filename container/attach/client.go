// Package attach connects a terminal, or plain streams, to a running container
// through the socket of its monitor.
package attach

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// The ways a Stream ends without the container's exit code.
var (
	// ErrDetached: the user typed the detach keys; the container runs on.
	ErrDetached = errors.New("detached")
	// ErrGone: the monitor vanished without a word, it was probably killed.
	ErrGone = errors.New("connection to the container's monitor was lost")
)

// Exit is how the container ended.
type Exit struct{ Code int }

// Client is a connection to a container's monitor. It is for one goroutine.
type Client struct {
	sock *os.File // blocking; used through its number
	fd   int
}

// Connect connects to the monitor whose run directory is given. While there is
// no monitor the error is os.ErrNotExist or ECONNREFUSED.
func Connect(runDir string) (*Client, error) {
	dir, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: runDir, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("attach socket: %w", err)
	}
	// The address has room for 108 bytes; the way through the descriptor is
	// short however long runDir is.
	name := "/proc/self/fd/" + strconv.Itoa(dir) + "/attach.sock"
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: runDir + "/attach.sock", Err: err}
	}
	return &Client{sock: os.NewFile(uintptr(fd), "attach.sock"), fd: fd}, nil
}

// Pair makes a connection to a monitor that is not started yet: the file is
// for the monitor to inherit.
func Pair() (*Client, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("attach socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "attach socket"), os.NewFile(uintptr(pair[1]), "attach socket")
	return &Client{sock: ours, fd: pair[0]}, theirs, nil
}

// Removes tells the monitor that this process removes the container when it
// has ended. Until the connection is closed the monitor relies on it.
func (c *Client) Removes() error { return c.send([]byte{packet.Removes}) }

// Resize sets the size of the container's terminal.
func (c *Client) Resize(rows, cols uint16) error {
	return c.send(packet.AppendResize(nil, rows, cols))
}

// Close ends the connection. The container runs on.
func (c *Client) Close() error { return c.sock.Close() }

func (c *Client) send(p []byte) error {
	for {
		err := unix.Send(c.fd, p, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EPIPE, unix.ECONNRESET:
			return ErrGone
		}
		return fmt.Errorf("send to the container's monitor: %w", err)
	}
}
