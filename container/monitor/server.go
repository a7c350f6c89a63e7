package monitor

import (
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
	"loper.run/container/logs"
	"loper.run/network/dns"
	"loper.run/network/usernet"
)

// server is the monitor while the container runs: one thread that waits for
// everything at once, with buffers of fixed size.
//
// There is at most one piece of output and one of input on its way at a time.
// While a client has no room for the piece of output, no more is read from the
// container; while the container has no room for the piece of input, no more is
// read from the clients. The kernel's buffers on both sides are the queues.
type server struct {
	dir       string
	engine    engine
	log       *logs.Writer
	logConfig logs.Config

	epoll, lock, configFd, listener, pidfd int // -1: none
	slave                                  int // of the terminal, held open

	pid            int
	started        time.Time
	tty, stdinOnce bool

	names    dns.Descriptors
	guard    guard
	resolver *dns.Resolver // nil: the container has no names
	asking   []int         // what goes along with names to the replacement
	heal     healer

	in, out, err source // fd -1: closed
	clients      []*client

	chunk  []byte // the packet of output on its way is chunk[:used]
	used   int
	behind int // so many clients have no room for it

	input   []byte // buffer for packets of clients
	pending []byte // of input, not taken by the container yet
	eof     bool   // close the container's input behind pending

	space space          // an ordinary user's
	given *usernet.Space // the same as files; nil: none

	nudge  nudge
	slim   bool // this is the program that replaced the one that started the container
	deaf   bool // signals are caught
	rested bool // memory was given back since the last event
	ended  bool

	tail [][]byte // the last packets, when the container has ended
}

// source is a descriptor in the epoll set.
type source struct {
	fd     int
	events uint32 // waited for; 0: not in the set
}

// client is one connection on attach.sock.
type client struct {
	source
	behind  bool // has not got the packet on its way
	mute    bool // can't receive any more
	gone    bool // hung up; it may have left packets to read
	stdin   bool // it has an input
	removes bool // it removes the container
	sized   bool // it told the size of its terminal before
	next    int  // in tail
}

// newServer makes a server without anything to serve. The buffers are mapped,
// so that their pages can be given back.
func newServer(dir string, e engine) *server {
	s := &server{
		dir: dir, engine: e, epoll: -1, lock: -1, configFd: -1, listener: -1, pidfd: -1, slave: -1,
		in: source{fd: -1}, out: source{fd: -1}, err: source{fd: -1}, names: dns.None, space: noSpace(), guard: noGuard(), heal: noHealer(),
	}
	s.chunk, s.input = buffer(), buffer()
	return s
}

// buffer has room for a packet, and a byte that tells one that is too long.
func buffer() []byte {
	const size = packet.MaxSize + 1
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return make([]byte, size)
	}
	return b
}

// serve is the rest of the monitor's life.
func (s *server) serve() int {
	if s.slim { // since it began they are ignored
		s.growDeaf()
	}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return 1 // and the kernel kills the container
	}
	s.watch(&source{fd: s.pidfd}, unix.EPOLLIN)
	s.watch(&source{fd: s.listener}, unix.EPOLLIN)
	s.openNames()
	s.openHealer()
	s.openSpace()
	var events [16]unix.EpollEvent
	for !s.ended {
		s.interests()
		n, err := unix.EpollWait(s.epoll, events[:], s.timeout())
		if err != nil && err != unix.EINTR {
			return 1
		}
		for _, ev := range events[:max(n, 0)] {
			s.handle(int(ev.Fd), ev.Events)
		}
		s.settle(n > 0)
	}
	return s.finish()
}

// interests says what to wait for in the present state.
func (s *server) interests() {
	var read uint32 = unix.EPOLLIN
	if s.behind > 0 {
		read = 0
	}
	s.watch(&s.out, read)
	s.watch(&s.err, read)
	s.watch(&s.guard.told, read)
	if len(s.pending) > 0 {
		s.watch(&s.in, unix.EPOLLOUT)
	} else {
		s.watch(&s.in, 0)
	}
	for _, c := range s.clients {
		var want uint32 = unix.EPOLLRDHUP
		switch {
		case len(s.pending) == 0:
			want |= unix.EPOLLIN
		case c.gone:
			want = 0 // it would be reported for ever
		}
		if c.behind {
			want |= unix.EPOLLOUT
		}
		s.watch(&c.source, want)
	}
}

// watch changes what a source is waited for, if it changes.
func (s *server) watch(src *source, events uint32) {
	if src.fd < 0 || src.events == events {
		return
	}
	op := unix.EPOLL_CTL_MOD
	switch {
	case src.events == 0:
		op = unix.EPOLL_CTL_ADD
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	}
	unix.EpollCtl(s.epoll, op, src.fd, &unix.EpollEvent{Events: events, Fd: int32(src.fd)})
	src.events = events
}

// shut closes a source. It leaves the epoll set by name: a copy of the
// descriptor may keep it there otherwise.
func (s *server) shut(src *source) {
	if src.fd >= 0 {
		s.watch(src, 0)
		unix.Close(src.fd)
		src.fd = -1
	}
}

func (s *server) handle(fd int, events uint32) {
	switch fd {
	case s.pidfd:
		s.ended = true
	case s.listener:
		s.welcome()
	case s.out.fd:
		s.read(&s.out, packet.Stdout)
	case s.err.fd:
		s.read(&s.err, packet.Stderr)
	case s.in.fd:
		s.feed()
	case s.guard.told.fd:
		s.read(&s.guard.told, packet.Stderr)
	case s.guard.refused:
		s.hearRefused()
	case s.namesFd():
		s.resolver.Serve()
	case s.space.carrier.fd:
		s.mend()
	case s.space.changes.fd:
		s.follow()
	case s.heal.queue.fd:
		s.turnFree()
	case s.heal.ears.fd:
		s.hear()
	case s.heal.bell.fd:
		s.looked()
	default:
		for _, c := range s.clients {
			if c.fd == fd {
				s.handleClient(c, events)
				break
			}
		}
	}
}
