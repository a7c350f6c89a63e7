package dns

import (
	"encoding/json"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// state is what Suspend writes: the clients that are connected, and the
// questions that wait for an answer.
type state struct {
	Conns   []connState
	Queries []queryState
}

type connState struct {
	FD      int
	In, Out []byte
	Ended   bool
}

type queryState struct {
	Conn    int // in Conns; -1: by UDP
	Peer    unix.SockaddrInet4
	Message []byte
}

// maxState is more than the state ever takes: maxConns connections with an
// answer of 64 KiB that is not read, and maxPending questions.
const maxState = 4 << 20

// Suspend writes down what is on its way, for a New in the program that
// replaces this one: all descriptors of the list are to be open there, by the
// same numbers. If that doesn't come about, this resolver goes on.
func (r *Resolver) Suspend() (fds Descriptors, list []int, err error) {
	r.questions = 0
	fds, list = r.fds, []int{r.fds.UDP, r.fds.TCP, r.fds.Run, r.fds.Networks}
	fds.Pending = -1
	if len(r.conns) == 0 && len(r.pending) == 0 {
		return fds, list, nil
	}
	var s state
	for _, c := range r.conns {
		s.Conns = append(s.Conns, connState{FD: c.fd, In: c.in, Out: c.out, Ended: c.ended})
		list = append(list, c.fd)
	}
	for _, q := range r.pending {
		s.Queries = append(s.Queries, queryState{Conn: slices.Index(r.conns, q.from.conn), Peer: q.from.peer, Message: q.message})
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fds, list, err
	}
	if fds.Pending, err = unix.MemfdCreate("pending", unix.MFD_CLOEXEC); err != nil {
		return fds, list, os.NewSyscallError("memfd_create", err)
	}
	if n, err := unix.Pwrite(fds.Pending, data, 0); n != len(data) {
		unix.Close(fds.Pending)
		return fds, list, os.NewSyscallError("write", err)
	}
	return fds, append(list, fds.Pending), nil
}

// resume goes on with what Suspend wrote. Questions are asked again: their
// servers' sockets have ended with the program that had them.
func (r *Resolver) resume() {
	fd := r.fds.Pending
	r.fds.Pending = -1
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Size > maxState {
		return
	}
	data := make([]byte, st.Size)
	if n, _ := unix.Pread(fd, data, 0); n != len(data) {
		return
	}
	var s state
	if json.Unmarshal(data, &s) != nil {
		return
	}
	for _, c := range s.Conns {
		unix.CloseOnExec(c.FD)
		r.serveConn(&conn{fd: c.FD, since: time.Now(), in: c.In, out: c.Out, ended: c.Ended})
	}
	conns := slices.Clone(r.conns)
	for _, q := range s.Queries {
		from := client{peer: q.Peer}
		if q.Conn >= 0 && q.Conn < len(conns) {
			from = client{conn: conns[q.Conn]}
			from.conn.waits = true
		}
		r.ask(from, q.Message)
	}
	for _, c := range conns {
		r.advance(c)
	}
}
