// Package fdpass passes descriptors over unix sockets: a terminal from a
// container, a mount from a helper.
package fdpass

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNone is returned when a message, or the end of the socket, came without
// exactly one descriptor.
var ErrNone = errors.New("not one descriptor came")

// Receive waits for a message that carries one descriptor and returns its
// number. It is close-on-exec and the caller's to close.
func Receive(socket int) (int, error) {
	var data [4096]byte // console sockets carry a name beside it
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		_, n, _, _, err = unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, ErrNone
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, ErrNone
	}
	return fds[0], nil
}

// Send sends a descriptor with a text, which must not be empty: a message of a
// stream socket has at least a byte.
func Send(socket int, text string, fd int) error {
	err := unix.Sendmsg(socket, []byte(text), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	for err == unix.EINTR {
		err = unix.Sendmsg(socket, []byte(text), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
	}
	return os.NewSyscallError("sendmsg", err)
}
