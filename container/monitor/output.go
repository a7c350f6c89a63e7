package monitor

import (
	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
	"loper.run/container/logs"
)

// read takes a piece of the container's output to the log and the clients.
func (s *server) read(src *source, kind byte) {
	if s.behind > 0 {
		return
	}
	n, err := unix.Read(src.fd, s.chunk[1:packet.MaxSize])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if n <= 0 {
		s.shut(src) // all that had it open are gone
		return
	}
	s.record(kind, s.chunk[1:1+n])
	s.chunk[0], s.used = kind, 1+n
	for _, c := range s.clients {
		s.send(c)
	}
}

// record writes output to the log. What the log can't take is not worth the
// container's life.
func (s *server) record(kind byte, data []byte) {
	stream := logs.Stdout
	if kind == packet.Stderr {
		stream = logs.Stderr
	}
	s.log.Write(stream, data)
}

// send gives the packet on its way to a client, for the first time or again.
func (s *server) send(c *client) {
	ok := c.mute || trySend(c, s.chunk[:s.used])
	if c.behind == ok {
		c.behind = !ok
		if ok {
			s.behind--
		} else {
			s.behind++
		}
	}
}

// trySend returns false when the client has no room now. One that can't be
// sent to any more is mute, and has room for everything.
func trySend(c *client, p []byte) bool {
	for {
		switch err := unix.Send(c.fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err {
		case nil:
			return true
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			c.mute = true
			return true
		}
	}
}
