package dns

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPending is how many questions wait for others' answers at once. For
	// one more the oldest is given up.
	maxPending = 128
	// maxAsked is how many servers' answers one question waits for.
	maxAsked = 3
	// queryLife is when a question is given up; C libraries do after 5 or 10
	// seconds.
	queryLife = 10 * time.Second
	// patience is how long the first server has before the next is asked, too;
	// it doubles with each round.
	patience = time.Second
)

// query is a question that is asked elsewhere.
type query struct {
	question
	from    client
	message []byte // as it came
	asked   []asked
	tries   int
	born    time.Time
	next    time.Time // when to try again, or to give up
	failure []byte    // the last answer of a server that could not give one
}

// asked is a server that was asked: by a socket of its own, and so from a port
// of its own, with a number of its own.
type asked struct {
	fd      int
	id      [2]byte
	tcp     bool
	out, in []byte // by TCP: not written yet, read so far
}

// forward asks the servers outside.
func (r *Resolver) forward(from client, message []byte, q question) {
	for _, p := range r.pending {
		if p.from == from && bytes.Equal(p.message, message) {
			return // it was sent again, and the answer to the first is to both
		}
	}
	q.name, q.file = bytes.Clone(q.name), nil
	if len(r.pending) == maxPending {
		r.giveUp(r.pending[0])
	}
	p := &query{question: q, from: from, message: bytes.Clone(message), born: time.Now()}
	r.pending = append(r.pending, p)
	r.try(p)
}

// try asks the next server that can be asked.
func (r *Resolver) try(q *query) {
	list := r.nameservers()
	for most := max(3, 2*len(list)); q.tries < most; {
		server, round := list[q.tries%len(list)], q.tries/len(list)
		q.tries++
		if a, ok := r.contact(q, server); ok {
			if len(q.asked) == maxAsked {
				unix.Close(q.asked[0].fd)
				q.asked = slices.Delete(q.asked, 0, 1)
			}
			q.asked = append(q.asked, a)
			r.watch(a.fd, a.interest())
			q.next = time.Now().Add(patience << min(round, 3))
			return
		}
	}
	if len(q.asked) == 0 {
		r.giveUp(q)
		return
	}
	q.next = q.born.Add(queryLife)
}

// contact sends a question to a server, the way it came.
func (r *Resolver) contact(q *query, server netip.Addr) (a asked, ok bool) {
	a = asked{tcp: q.from.conn != nil}
	kind := unix.SOCK_DGRAM
	if a.tcp {
		kind = unix.SOCK_STREAM
	}
	if n, err := unix.Getrandom(a.id[:], 0); n != len(a.id) || err != nil {
		return a, false
	}
	to, family := r.host.sockaddr(server)
	var err error
	if a.fd, err = r.socket(server, family, kind); err != nil {
		return a, false
	}
	message := append([]byte(nil), q.message...)
	copy(message, a.id[:])
	err = unix.Connect(a.fd, to) // the kernel chooses a port at random, and lets nobody else answer
	if a.tcp {
		a.out = append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
		if err == unix.EINPROGRESS {
			err = nil
		}
	} else if err == nil {
		_, err = unix.Write(a.fd, message)
	}
	if err != nil {
		unix.Close(a.fd)
	}
	return a, err == nil
}

func (a *asked) interest() uint32 {
	if len(a.out) > 0 {
		return unix.EPOLLIN | unix.EPOLLOUT
	}
	return unix.EPOLLIN
}

// handleServer takes what a server has sent.
func (r *Resolver) handleServer(q *query, i int, events uint32) {
	a := &q.asked[i]
	if a.tcp {
		r.handleStream(q, i, events)
		return
	}
	for range atOnce {
		n, err := unix.Read(a.fd, r.buf)
		switch {
		case err == unix.EAGAIN:
			return
		case err == unix.EINTR:
		case err != nil:
			r.failed(q, i)
			return
		case r.take(q, i, r.buf[:n]):
			return
		}
	}
}

// handleStream goes on with a question by TCP.
func (r *Resolver) handleStream(q *query, i int, events uint32) {
	a := &q.asked[i]
	if len(a.out) > 0 && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		n, err := unix.SendmsgN(a.fd, a.out, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			r.failed(q, i)
			return
		}
		if a.out = a.out[max(n, 0):]; len(a.out) == 0 {
			r.rewatch(a.fd, unix.EPOLLIN)
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return
	}
	n, err := unix.Read(a.fd, r.buf)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		r.failed(q, i)
		return
	}
	a.in = append(a.in, r.buf[:n]...)
	if len(a.in) < 2 {
		return
	}
	size := int(binary.BigEndian.Uint16(a.in))
	if len(a.in) >= 2+size && !r.take(q, i, a.in[2:2+size]) {
		r.failed(q, i) // nobody else could have written that
	}
}

// failed: a server has no answer. The next is asked; when all were, that they
// failed is the answer.
func (r *Resolver) failed(q *query, i int) {
	unix.Close(q.asked[i].fd)
	q.asked = slices.Delete(q.asked, i, i+1)
	switch {
	case q.tries < len(r.nameservers()):
		r.try(q)
	case len(q.asked) == 0:
		r.giveUp(q)
	}
}

// giveUp answers that there is no answer.
func (r *Resolver) giveUp(q *query) {
	answer := q.failure
	if answer == nil {
		q.code, q.known = codeServerFailed, false
		answer = r.compose(q.message, q.question)
	}
	r.reply(q.from, answer)
	r.forget(q)
}

// forget ends a query that was answered, or whose client has gone.
func (r *Resolver) forget(q *query) {
	for _, a := range q.asked {
		unix.Close(a.fd)
	}
	q.asked = nil
	r.pending = slices.DeleteFunc(r.pending, func(p *query) bool { return p == q })
	if c := q.from.conn; c != nil {
		r.advance(c)
	}
}

// expire does what is due by now.
func (r *Resolver) expire(now time.Time) {
	for _, q := range slices.Clone(r.pending) {
		switch {
		case now.Before(q.next) || !slices.Contains(r.pending, q):
		case now.Before(q.born.Add(queryLife)):
			r.try(q)
		default:
			r.giveUp(q)
		}
	}
	r.listen(now)
	for _, c := range slices.Clone(r.conns) {
		if !now.Before(c.since.Add(connLife)) {
			r.hangUp(c)
		}
	}
}
