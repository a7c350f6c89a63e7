// Package dns answers a container's questions for names: those of its networks
// from their files, all others by asking the host's resolvers. It runs in the
// container's monitor, by its one thread, with buffers of fixed size.
package dns

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxQuery is how long a question may be. The longest name takes 272
	// bytes; clients may pad to a multiple of 128.
	maxQuery = 1024
	// maxPacket is more than any message has, so that longer ones are seen.
	maxPacket = 64 << 10
	// atOnce is how much is read of a server before the others' turn.
	atOnce = 16
	// Each question leaves some hundred bytes of garbage, which nobody collects.
	wornAtRest, worn = 500, 5000
)

// Descriptors is what a resolver stands on, as numbers that another program can
// inherit; -1: none.
type Descriptors struct {
	UDP, TCP int // listeners in the container's namespace
	Run      int // the container's run directory, which has its network.json
	Networks int // the directory that has a directory a network
	Pending  int // what Suspend wrote
}

// None are no descriptors at all.
var None = Descriptors{UDP: -1, TCP: -1, Run: -1, Networks: -1, Pending: -1}

func (d *Descriptors) close() {
	for _, fd := range d.list() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (d *Descriptors) list() []int { return []int{d.UDP, d.TCP, d.Run, d.Networks, d.Pending} }

// Resolver answers the questions that come in on its listeners. Its fields are
// set before the first Serve.
type Resolver struct {
	// Allow says whether a name that no network knows may be asked for, in
	// lower case and without a dot at its end; nil: all may.
	Allow func(name string) bool
	// Learned is told each address that an answer gives to a name that was
	// asked for, before the client is; ttl in seconds; nil: nobody is told.
	Learned func(name string, address netip.Addr, ttl uint32)

	fds   Descriptors
	epoll int
	buf   []byte // packets as they come
	out   []byte // an answer of our own
	name  []byte // of the question at hand
	file  []byte
	peer  unix.SockaddrInet4

	zone      zone
	host      servers
	pending   []*query // the oldest first
	conns     []*conn
	spares    []spare
	questions int
	pace      pace
}

// New makes the resolver of these descriptors, which are its own from here on.
// It goes on with what Suspend left.
func New(fds Descriptors) (*Resolver, error) {
	r := &Resolver{fds: fds, out: make([]byte, 0, maxAnswer), name: make([]byte, 0, 255), file: make([]byte, 0, 255), host: servers{path: "/etc/resolv.conf", port: 53}}
	r.zone.run, r.zone.networks = fds.Run, fds.Networks
	var err error
	if r.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if r.buf, err = unix.Mmap(-1, 0, maxPacket, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		unix.Close(r.epoll)
		return nil, err
	}
	r.watch(fds.UDP, unix.EPOLLIN)
	r.watch(fds.TCP, unix.EPOLLIN)
	return r, nil
}

// Fd can be read, as epoll sees it, when Serve has something to do.
func (r *Resolver) Fd() int { return r.epoll }

// Close ends the resolver, its descriptors, and what waits for an answer.
func (r *Resolver) Close() {
	for len(r.pending) > 0 {
		r.forget(r.pending[0])
	}
	for len(r.conns) > 0 {
		r.hangUp(r.conns[0])
	}
	for _, s := range r.spares {
		unix.Close(s.fd)
	}
	r.fds.close()
	unix.Close(r.epoll)
	unix.Munmap(r.buf)
}

// Next is when Serve has something to do though nothing comes; zero: never.
func (r *Resolver) Next() time.Time {
	var next time.Time
	if r.fds.Pending >= 0 {
		next = time.Unix(1, 0) // long ago
	}
	if r.pace.full && next.IsZero() {
		next = r.pace.begun.Add(slice)
	}
	for _, q := range r.pending {
		if next.IsZero() || q.next.Before(next) {
			next = q.next
		}
	}
	for _, c := range r.conns {
		if end := c.since.Add(connLife); next.IsZero() || end.Before(next) {
			next = end
		}
	}
	return next
}

// Rest gives back the memory that is not needed while nobody asks.
func (r *Resolver) Rest() { unix.Madvise(r.buf, unix.MADV_DONTNEED) }

// Worn: so much was asked that a new program would be smaller than this one, in
// which no garbage is collected.
func (r *Resolver) Worn(atRest bool) bool {
	return r.questions >= worn || atRest && r.questions >= wornAtRest
}

// Serve does one thing that there is to do, and what is due. It does not wait.
func (r *Resolver) Serve() {
	if r.fds.Pending >= 0 {
		r.resume()
	}
	// One by one: what is closed on the way must not be taken for what gets
	// its number next, and mostly there is no second.
	var event [1]unix.EpollEvent
	if n, err := unix.EpollWait(r.epoll, event[:], 0); n > 0 && err == nil {
		r.handle(int(event[0].Fd), event[0].Events)
	}
	r.expire(time.Now())
}

func (r *Resolver) handle(fd int, events uint32) {
	switch fd {
	case r.fds.UDP:
		r.receive()
		return
	case r.fds.TCP:
		r.accept()
		return
	}
	for _, c := range r.conns {
		if c.fd == fd {
			r.handleConn(c, events)
			return
		}
	}
	for _, q := range r.pending {
		for i := range q.asked {
			if q.asked[i].fd == fd {
				r.handleServer(q, i, events)
				return
			}
		}
	}
}

// watch adds a descriptor to what Serve looks at. It leaves when it is closed.
func (r *Resolver) watch(fd int, events uint32) {
	unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (r *Resolver) rewatch(fd int, events uint32) {
	unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// receive takes a question that came by UDP.
func (r *Resolver) receive() {
	n, from, err := unix.Recvfrom(r.fds.UDP, r.buf[:maxQuery+1], unix.MSG_DONTWAIT)
	if err != nil {
		return
	}
	r.spend()
	if peer, ok := from.(*unix.SockaddrInet4); ok && n <= maxQuery {
		r.ask(client{peer: *peer}, r.buf[:n])
	}
}

// ask answers a question, or asks others for the answer. It reports whether the
// message was one at all; what is none is not answered.
func (r *Resolver) ask(from client, message []byte) bool {
	q, err := r.parse(message)
	if err != nil {
		return false
	}
	r.questions++
	if from.conn != nil {
		q.size = maxAnswer
	}
	if q.code != 0 {
		r.refuse(from, message, q, q.code)
		return true
	}
	r.zone.look(&q)
	switch {
	case q.known:
		for _, a := range q.addresses {
			if r.Learned != nil {
				r.Learned(string(q.name), a, ttl)
			}
		}
		r.reply(from, r.compose(message, q))
	case q.code != 0:
		r.refuse(from, message, q, q.code)
	case r.zone.internal() || hostLabel(q) || r.Allow != nil && !r.Allow(string(q.name)):
		// Not "refused": C libraries take that for a server that is broken,
		// and wait for another one's answer.
		r.refuse(from, message, q, codeNoName)
	default:
		r.forward(from, message, q)
	}
	return true
}

// hostLabel: somebody asks for a host by one label alone. No host of the world
// is called so; it is a container's name that does not run or is misspelled,
// and nobody's business outside.
func hostLabel(q question) bool {
	for _, c := range q.name {
		if c == '.' {
			return false
		}
	}
	switch q.kind {
	case typeA, typeAAAA, typeHTTPS, typeANY:
		return len(q.name) > 0
	}
	return false
}

// refuse answers with a code and nothing else.
func (r *Resolver) refuse(to client, message []byte, q question, code byte) {
	q.code, q.known = code, false
	r.reply(to, r.compose(message, q))
}

// reply sends an answer to who asked. A client by UDP that has no room for it
// asks again.
func (r *Resolver) reply(to client, answer []byte) {
	if to.conn != nil {
		r.send(to.conn, answer)
		return
	}
	r.peer = to.peer
	unix.Sendto(r.fds.UDP, answer, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, &r.peer)
}

// client is who asked.
type client struct {
	conn *conn // nil: by UDP
	peer unix.SockaddrInet4
}
