package dns

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConns is how many clients may be connected by TCP. For one more the
	// one that has been quiet longest is hung up on.
	maxConns = 32
	// connLife is how long a client may be quiet.
	connLife = 15 * time.Second
)

// conn is a client by TCP. It has one question answered after the other.
type conn struct {
	fd      int // -1: hung up on
	since   time.Time
	in, out []byte
	waits   bool // for the answer to a question
	ended   bool // sends no more
}

// accept takes a client that comes by TCP.
func (r *Resolver) accept() {
	fd, _, err := unix.Accept4(r.fds.TCP, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	if len(r.conns) == maxConns {
		r.hangUp(slices.MinFunc(r.conns, func(a, b *conn) int { return a.since.Compare(b.since) }))
	}
	r.spend()
	r.serveConn(&conn{fd: fd, since: time.Now()})
}

func (r *Resolver) serveConn(c *conn) {
	r.conns = append(r.conns, c)
	r.watch(c.fd, r.interest(c))
}

func (r *Resolver) interest(c *conn) uint32 {
	switch {
	case len(c.out) > 0:
		return unix.EPOLLOUT
	case c.waits, r.pace.full:
		return 0
	}
	return unix.EPOLLIN
}

func (r *Resolver) handleConn(c *conn, events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		r.hangUp(c)
		return
	}
	if events&unix.EPOLLOUT != 0 {
		r.flush(c)
	}
	if events&unix.EPOLLIN != 0 {
		r.spend()
		n, err := unix.Read(c.fd, r.buf[:2+maxQuery])
		if err == unix.EAGAIN || err == unix.EINTR {
			return
		}
		if err != nil {
			r.hangUp(c)
			return
		}
		c.ended = n == 0
		c.in = append(c.in, r.buf[:n]...)
	}
	r.advance(c)
}

// advance asks what a client has sent, until an answer has to be waited for.
func (r *Resolver) advance(c *conn) {
	for c.fd >= 0 && !c.waits && len(c.out) == 0 && !r.pace.full {
		size := maxQuery
		if len(c.in) >= 2 {
			size = int(binary.BigEndian.Uint16(c.in))
		}
		if size > maxQuery || c.ended && len(c.in) < 2+size {
			r.hangUp(c)
			return
		}
		if len(c.in) < 2+size {
			break
		}
		message := c.in[2 : 2+size]
		c.in = c.in[2+size:]
		r.spend()
		c.waits, c.since = true, time.Now()
		if !r.ask(client{conn: c}, message) {
			r.hangUp(c)
			return
		}
	}
	if c.fd >= 0 {
		r.rewatch(c.fd, r.interest(c))
	}
}

// send answers a client. What there is no room for now follows.
func (r *Resolver) send(c *conn, answer []byte) {
	if c.fd < 0 {
		return
	}
	c.waits, c.since = false, time.Now()
	c.out = append(binary.BigEndian.AppendUint16(c.out, uint16(len(answer))), answer...)
	r.flush(c)
}

func (r *Resolver) flush(c *conn) {
	n, err := unix.SendmsgN(c.fd, c.out, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		c.out, c.ended = nil, true // the next look finds it out
		return
	}
	if c.out = c.out[max(n, 0):]; len(c.out) == 0 {
		c.out = nil
	}
}

// hangUp ends a connection, and what it waits for.
func (r *Resolver) hangUp(c *conn) {
	if c.fd < 0 {
		return
	}
	unix.Close(c.fd)
	c.fd = -1
	r.conns = slices.DeleteFunc(r.conns, func(o *conn) bool { return o == c })
	for _, q := range slices.Clone(r.pending) {
		if q.from.conn == c {
			r.forget(q)
		}
	}
}
