package monitor

import (
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// maxClients bounds how many may be attached at once.
const maxClients = 64

func (s *server) welcome() {
	fd, err := accept(s.listener)
	if err != nil {
		return
	}
	if len(s.clients) == maxClients {
		unix.Close(fd)
		return
	}
	s.clients = append(s.clients, &client{source: source{fd: fd}})
}

func (s *server) handleClient(c *client, events uint32) {
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.mute = true
	}
	if c.behind {
		s.send(c)
	}
	if len(s.pending) > 0 {
		c.gone = events&(unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0
		return
	}
	if events&^unix.EPOLLOUT != 0 {
		s.receive(c)
	}
}

// receive takes one packet of a client.
func (s *server) receive(c *client) {
	n, err := unix.Read(c.fd, s.input)
	switch {
	case err == unix.EAGAIN, err == unix.EINTR, err == unix.ECONNRESET:
		return // after a reset there may be more to read
	case n <= 0, n > packet.MaxSize, !s.obey(c, s.input[0], s.input[1:n]):
		s.drop(c)
	}
}

// obey does what a packet says; false when no client of ours would say it.
func (s *server) obey(c *client, kind byte, data []byte) bool {
	switch kind {
	case packet.Stdin:
		c.stdin = true
		s.pending = data
		s.feed()
	case packet.EOF:
		c.stdin = true
		s.inputEnded(c)
	case packet.Resize:
		rows, cols, ok := packet.ParseResize(data)
		if !ok {
			return false
		}
		s.resize(c, rows, cols)
	case packet.Removes:
		c.removes = true
	default:
		return false
	}
	return true
}

// feed passes pending input on to the container, as much as it takes.
func (s *server) feed() {
	for len(s.pending) > 0 && s.in.fd >= 0 {
		n, err := unix.Write(s.in.fd, s.pending)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil || n <= 0:
			s.shut(&s.in) // the container closed it
		default:
			s.pending = s.pending[n:]
		}
	}
	s.pending = nil
	if s.eof {
		s.shut(&s.in)
	}
}

// inputEnded is called at the end of a client's input, which is that of the
// container's when it has one client in its life.
func (s *server) inputEnded(c *client) {
	if c.stdin && s.stdinOnce && !s.tty {
		s.eof = true
		s.feed()
	}
}

// drop ends the connection of a client.
func (s *server) drop(c *client) {
	c.mute = true
	s.send(c)
	s.shut(&c.source)
	for i, other := range s.clients {
		if other == c {
			s.clients = append(s.clients[:i], s.clients[i+1:]...)
			break
		}
	}
	s.inputEnded(c)
}

// nudge is a size of the terminal that is set a moment later.
type nudge struct {
	at   time.Time // zero: none
	size unix.Winsize
}

// nudgeFor is long enough for a program to notice a change of size, and too
// short for a person.
const nudgeFor = 30 * time.Millisecond

// resize sets the terminal's size, of which the kernel tells the program. A new
// client whose size is the present one gets a detour: it makes full-screen
// programs draw themselves anew.
func (s *server) resize(c *client, rows, cols uint16) {
	if !s.tty || s.out.fd < 0 {
		return
	}
	first := !c.sized
	c.sized = true
	want := unix.Winsize{Row: rows, Col: cols}
	s.nudge = nudge{}
	if first {
		have, err := unix.IoctlGetWinsize(s.out.fd, unix.TIOCGWINSZ)
		if err == nil && have.Row == rows && have.Col == cols {
			s.nudge = nudge{at: time.Now().Add(nudgeFor), size: want}
			want.Row++
		}
	}
	unix.IoctlSetWinsize(s.out.fd, unix.TIOCSWINSZ, &want)
}
