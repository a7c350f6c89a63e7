package netlink

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Message is a request: a kind like RTM_NEWLINK, flags like NLM_F_CREATE.
type Message struct {
	Kind, Flags uint16
	Body        []byte
}

// Refused is an error about one message of a batch.
type Refused struct {
	Index int // of the message
	Err   *Error
}

// appendMessage puts a message with its header behind others.
func (c *Conn) appendMessage(to []byte, m Message) []byte {
	c.seq++
	native := binary.NativeEndian
	to = native.AppendUint32(to, uint32(unix.NLMSG_HDRLEN+len(m.Body)))
	to = native.AppendUint16(to, m.Kind)
	to = native.AppendUint16(to, m.Flags|unix.NLM_F_REQUEST)
	to = native.AppendUint32(to, c.seq)
	to = native.AppendUint32(to, 0)
	to = append(to, m.Body...)
	return append(to, make([]byte, align(len(m.Body))-len(m.Body))...)
}

func (c *Conn) send(datagram []byte) error {
	for {
		err := unix.Sendto(c.fd, datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return os.NewSyscallError("send to netlink", err)
		}
	}
}

// Batch sends messages as one datagram, and returns what the kernel had against
// them. It is for families that carry a batch out before the sending returns.
func (c *Conn) Batch(messages []Message) ([]Refused, error) {
	var datagram []byte
	first := c.seq + 1
	for _, m := range messages {
		datagram = c.appendMessage(datagram, m)
	}
	// The kernel takes no datagram larger than the socket's buffer. More than
	// the usual limit is root's right.
	if need := 2 * len(datagram); need > 200<<10 {
		if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, need) != nil {
			_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, need)
		}
	}
	if err := c.send(datagram); err != nil {
		return nil, err
	}
	var refused []Refused
	for {
		answer, err := c.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return refused, nil
		}
		if err != nil {
			return nil, err
		}
		for what, m := range split(answer) {
			if e, ok := refusal(m.Body, m.Flags).(*Error); ok && m.Kind == unix.NLMSG_ERROR && what >= first {
				refused = append(refused, Refused{Index: int(what - first), Err: e})
			}
		}
	}
}
