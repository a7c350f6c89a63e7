package netlink

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Request is a message that is sent together with others.
type Request struct {
	Message
	What    string       // for the error: "give eth0 the address 192.0.2.2/24"
	Accept  []unix.Errno // refusals that are as good as success
	Answers [][]byte     // set by Ask
	Err     error        // set by Ask, whether accepted or not
}

// Or returns the request with further refusals that are as good as success.
func (r Request) Or(accept ...unix.Errno) Request {
	r.Accept = append(slices.Clip(r.Accept), accept...)
	return r
}

// Ask sends rtnetlink requests as one datagram. The kernel carries out all of
// them, one after the other, whether an earlier one was refused or not. The
// error is the first that is not accepted.
func (c *Conn) Ask(requests []Request) error {
	if len(requests) == 0 {
		return nil
	}
	var datagram []byte
	first, last := c.seq+1, c.seq+uint32(len(requests))
	for i, r := range requests {
		// Refusals come unasked, answers too: only the end has to be told.
		if i == len(requests)-1 {
			r.Flags |= unix.NLM_F_ACK
		}
		datagram = c.appendMessage(datagram, r.Message)
	}
	if err := c.send(datagram); err != nil {
		return err
	}
	// Each answer is about one thing: shorter than a page or two.
	buffer := make([]byte, 32<<10)
	for ended := false; !ended; {
		n, _, err := unix.Recvfrom(c.fd, buffer, unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("receive from netlink", err)
		}
		if n > len(buffer) {
			return fmt.Errorf("netlink: an answer of %d bytes", n)
		}
		for seq, m := range split(buffer[:n]) {
			if seq < first || seq > last { // of a request that was given up
				continue
			}
			r := &requests[seq-first]
			if m.Kind == unix.NLMSG_ERROR || m.Kind == unix.NLMSG_DONE {
				r.Err = refusal(m.Body, m.Flags)
				ended = ended || seq == last
			} else {
				r.Answers = append(r.Answers, bytes.Clone(m.Body))
			}
		}
	}
	for _, r := range requests {
		if r.Err != nil && !slices.ContainsFunc(r.Accept, func(e unix.Errno) bool { return errors.Is(r.Err, e) }) {
			return fmt.Errorf("%s: %w", r.What, r.Err)
		}
	}
	return nil
}
