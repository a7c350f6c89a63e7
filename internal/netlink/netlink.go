// Package netlink speaks rtnetlink: what the kernel is asked about network
// interfaces and addresses, and how they are changed.
package netlink

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Conn is a conversation with the kernel about one network namespace. It is
// not for several goroutines at a time.
type Conn struct {
	fd  int
	seq uint32
}

// Open begins a conversation about the caller's network namespace.
func Open() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind the netlink socket", err)
	}
	// Words beside the error number, and exactly what was asked for: both are
	// left out by old kernels.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &Conn{fd: fd}, nil
}

// OpenIn begins a conversation about another network namespace. The caller
// needs CAP_SYS_ADMIN in its own user namespace and in the one that owns the
// other.
func OpenIn(namespace *os.File) (*Conn, error) {
	type result struct {
		c   *Conn
		err error
	}
	done := make(chan result)
	go func() {
		// A socket stays in the namespace in which it was made. A thread that
		// doesn't find its way back ends with the goroutine.
		runtime.LockOSThread()
		c, back, err := openIn(namespace)
		if back {
			runtime.UnlockOSThread()
		}
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

func openIn(namespace *os.File) (c *Conn, back bool, err error) {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, true, err
	}
	defer own.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, true, fmt.Errorf("join the network namespace %s: %w", namespace.Name(), err)
	}
	c, err = Open()
	return c, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil, err
}

// Close ends the conversation.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Error is the kernel's refusal, with its own words if it had any.
type Error struct {
	Errno unix.Errno
	Words string
}

// Error puts the words behind the cause.
func (e *Error) Error() string {
	if e.Words == "" {
		return e.Errno.Error()
	}
	return e.Errno.Error() + " (" + e.Words + ")"
}

// Unwrap returns the errno.
func (e *Error) Unwrap() error { return e.Errno }

// Do sends a request, of a kind like RTM_NEWLINK and with flags like
// NLM_F_CREATE, and returns the bodies of what the kernel answered.
func (c *Conn) Do(kind, flags uint16, body []byte) ([][]byte, error) {
	c.seq++
	native := binary.NativeEndian
	message := make([]byte, unix.NLMSG_HDRLEN, unix.NLMSG_HDRLEN+len(body))
	native.PutUint32(message[0:], uint32(unix.NLMSG_HDRLEN+len(body)))
	native.PutUint16(message[4:], kind)
	native.PutUint16(message[6:], flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	native.PutUint32(message[8:], c.seq)
	if err := unix.Sendto(c.fd, append(message, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("send to netlink", err)
	}
	var answers [][]byte
	for {
		answer, err := c.receive()
		if err != nil {
			return nil, err
		}
		for len(answer) >= unix.NLMSG_HDRLEN {
			size := int(native.Uint32(answer))
			if size < unix.NLMSG_HDRLEN || size > len(answer) {
				return nil, fmt.Errorf("netlink: a message of %d bytes in %d", size, len(answer))
			}
			what, its, seq := native.Uint16(answer[4:]), native.Uint16(answer[6:]), native.Uint32(answer[8:])
			content := answer[unix.NLMSG_HDRLEN:size]
			answer = answer[min(align(size), len(answer)):]
			switch {
			case seq != c.seq: // of a request that was given up
			case what == unix.NLMSG_ERROR, what == unix.NLMSG_DONE:
				return answers, refusal(content, its)
			default:
				answers = append(answers, content)
			}
		}
	}
}

// receive returns one datagram, however long it is.
func (c *Conn) receive() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err == nil {
			answer := make([]byte, n)
			n, _, err = unix.Recvfrom(c.fd, answer, 0)
			if err == nil {
				return answer[:n], nil
			}
		}
		if err != unix.EINTR {
			return nil, os.NewSyscallError("receive from netlink", err)
		}
	}
}

// refusal reads the end of an answer: an error number, which may be 0, and the
// attributes behind the copy of the request.
func refusal(content []byte, flags uint16) error {
	if len(content) < 4 {
		return nil
	}
	errno := -int32(binary.NativeEndian.Uint32(content))
	if errno == 0 {
		return nil
	}
	e := &Error{Errno: unix.Errno(errno)}
	if at := 4 + unix.NLMSG_HDRLEN; flags&unix.NLM_F_ACK_TLVS != 0 && len(content) >= at {
		if flags&unix.NLM_F_CAPPED == 0 {
			at = 4 + align(int(binary.NativeEndian.Uint32(content[4:])))
		}
		for kind, value := range Attributes(content[min(at, len(content)):]) {
			if kind == unix.NLMSGERR_ATTR_MSG {
				e.Words = text(value)
			}
		}
	}
	return e
}
