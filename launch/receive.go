package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Receive waits for a descriptor that the child sends over its Input named
// Parent; nil when it announces instead that there is none. When the child fails
// it returns the *Error.
func (c *Process) Receive() (*os.File, error) {
	var r report
	data, control := unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r)), make([]byte, unix.CmsgSpace(4))
	n, rights, _, _, err := unix.Recvmsg(int(c.socket.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, rights, _, _, err = unix.Recvmsg(int(c.socket.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case n == 0 && (err == nil || errors.Is(err, unix.ECONNRESET)):
		return nil, ErrDied
	case err != nil:
		return nil, os.NewSyscallError("recvmsg", err)
	case rights > 0:
		return received(control[:rights])
	case n == len(data) && r.kind == reportAnnounce:
		return nil, nil
	case n == len(data) && r.kind == reportFailure && int(r.index) < len(c.program.Ops):
		return nil, &Error{Op: c.program.Ops[r.index], Errno: syscall.Errno(r.value)}
	}
	return nil, fmt.Errorf("the child sent %d bytes in place of a descriptor", n)
}

// received is the one descriptor of a control message.
func received(control []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return nil, io.ErrUnexpectedEOF
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, io.ErrUnexpectedEOF
	}
	return os.NewFile(uintptr(fds[0]), "from the child"), nil
}
