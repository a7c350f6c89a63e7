// Package netlink speaks netlink: requests, answers and refusals, and of
// rtnetlink what the kernel is asked about network interfaces and addresses, and
// how they are changed.
package netlink

import (
	"encoding/binary"
	"errors"
	"iter"
	"os"

	"loper.run/internal/netns"

	"golang.org/x/sys/unix"
)

// Conn is a conversation with the kernel about one network namespace. It is
// not for several goroutines at a time.
type Conn struct {
	fd  int
	seq uint32
}

// Open begins a conversation about the caller's network namespace.
func Open() (*Conn, error) { return Dial(unix.NETLINK_ROUTE) }

// Dial is Open for another of netlink's families, like NETLINK_NETFILTER.
func Dial(family int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, os.NewSyscallError("netlink socket", err)
	}
	return New(fd)
}

// New begins a conversation with a netlink socket that was made elsewhere, and
// owns it from then on. There may have been conversations with it before.
func New(fd int) (*Conn, error) {
	if err := bind(fd); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("bind the netlink socket", err)
	}
	// Words beside the error number, and exactly what was asked for: both are
	// left out by old kernels.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &Conn{fd: fd}, nil
}

// bind gives the socket an address, which it can't be given twice.
func bind(fd int) error {
	if own, err := unix.Getsockname(fd); err == nil {
		if a, ok := own.(*unix.SockaddrNetlink); ok && a.Pid != 0 {
			return nil
		}
	}
	return unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// OpenIn begins a conversation about another network namespace. The caller
// needs CAP_SYS_ADMIN in its own user namespace and in the one that owns the
// other.
func OpenIn(namespace *os.File) (*Conn, error) { return DialIn(namespace, unix.NETLINK_ROUTE) }

// DialIn is OpenIn for another of netlink's families.
func DialIn(namespace *os.File, family int) (*Conn, error) {
	fds, err := netns.Open(namespace, netns.Netlink(family))
	if err != nil {
		return nil, err
	}
	return New(fds[0])
}

// Close ends the conversation.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Error is the kernel's refusal, with its own words if it had any.
type Error struct {
	Errno unix.Errno
	Words string
	// Offset is where in the request, with its header, the attribute begins
	// that was refused; 0: not told.
	Offset uint32
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
// NLM_F_CREATE, and returns the bodies of what the kernel answered. A list that
// changed while it was read is read again.
func (c *Conn) Do(kind, flags uint16, body []byte) ([][]byte, error) {
	for attempt := 0; ; attempt++ {
		answers, err := c.do(Message{Kind: kind, Flags: flags | unix.NLM_F_ACK, Body: body})
		if err != errChanged || attempt == 50 {
			return answers, err
		}
	}
}

// errChanged is a list that is no longer what it was when its reading began.
var errChanged = errors.New("netlink: the list changes faster than it can be read")

func (c *Conn) do(request Message) ([][]byte, error) {
	if err := c.send(c.appendMessage(nil, request)); err != nil {
		return nil, err
	}
	var answers [][]byte
	changed := false
	for {
		answer, err := c.receive(0)
		if err != nil {
			return nil, err
		}
		for seq, m := range split(answer) {
			switch {
			case seq != c.seq: // of a request that was given up
			case m.Kind == unix.NLMSG_ERROR, m.Kind == unix.NLMSG_DONE:
				err := refusal(m.Body, m.Flags)
				if err == nil && (changed || m.Flags&unix.NLM_F_DUMP_INTR != 0) {
					err = errChanged
				}
				return answers, err
			default:
				changed = changed || m.Flags&unix.NLM_F_DUMP_INTR != 0
				answers = append(answers, m.Body)
			}
		}
	}
}

// receive returns one datagram, however long it is.
func (c *Conn) receive(flags int) ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, nil, flags|unix.MSG_PEEK|unix.MSG_TRUNC)
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

// split takes a datagram apart into messages by their sequence numbers.
func split(datagram []byte) iter.Seq2[uint32, Message] {
	native := binary.NativeEndian
	return func(yield func(uint32, Message) bool) {
		for len(datagram) >= unix.NLMSG_HDRLEN {
			size := int(native.Uint32(datagram))
			if size < unix.NLMSG_HDRLEN || size > len(datagram) {
				return
			}
			m := Message{Kind: native.Uint16(datagram[4:]), Flags: native.Uint16(datagram[6:]), Body: datagram[unix.NLMSG_HDRLEN:size]}
			if !yield(native.Uint32(datagram[8:]), m) {
				return
			}
			datagram = datagram[min(align(size), len(datagram)):]
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
			switch kind {
			case unix.NLMSGERR_ATTR_MSG:
				e.Words = text(value)
			case unix.NLMSGERR_ATTR_OFFS:
				e.Offset = number(value)
			}
		}
	}
	return e
}
