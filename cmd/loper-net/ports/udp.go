package ports

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/sock"

	"golang.org/x/sys/unix"
)

// How long a flow lives after its last datagram.
const (
	unanswered = 30 * time.Second
	answered   = 3 * time.Minute
)

// maxFlows limits the clients of a port at a time. A new one takes the place of one that was silent for long.
const maxFlows = 1024

// client is who sent a datagram, and to which of the host's addresses.
type client struct {
	from netip.AddrPort
	to   netip.Addr
	link uint32 // the interface, for addresses that mean something on one only
}

// datagrams is a UDP port of the host.
type datagrams struct {
	entry    *entry
	listener *sock.Socket

	mu    sync.Mutex
	flows map[client]*flow
}

// flow is a client's socket in the namespace.
type flow struct {
	client  client
	sock    *sock.Socket
	used    atomic.Int64 // nanoseconds since 1970
	replied atomic.Bool
}

// room is for one datagram.
var room = sync.Pool{New: func() any { return new([1<<16 - 1]byte) }}

// serve carries datagrams until the socket is closed.
func (d *datagrams) serve() {
	data := new([1<<16 - 1]byte)
	control := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	for {
		var n, oob int
		var from unix.Sockaddr
		err := d.listener.In(func(fd int) (err error) {
			n, oob, _, from, err = unix.Recvmsg(fd, data[:], control, 0)
			return err
		})
		if errors.Is(err, os.ErrClosed) {
			d.close()
			return
		}
		if err != nil { // an earlier answer did not arrive
			continue
		}
		c := client{from: sock.AddrPort(from)}
		c.to, c.link = destination(control[:oob])
		if f := d.flow(c); f != nil {
			f.used.Store(time.Now().UnixNano())
			_ = f.sock.Now(func(fd int) error { _, err := sock.Send(fd, data[:n]); return err })
		}
	}
}

func (d *datagrams) flow(c client) *flow {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flows[c]; f != nil {
		return f
	}
	if len(d.flows) >= maxFlows {
		d.evict()
	}
	if !d.entry.take() {
		return nil
	}
	s, err := d.entry.reach(inside.UDP, c.from)
	if err != nil {
		d.entry.drop()
		return nil
	}
	f := &flow{client: c, sock: s}
	f.used.Store(time.Now().UnixNano())
	d.flows[c] = f
	go d.answers(f)
	return f
}

// evict ends the flow among some that was silent for longest.
func (d *datagrams) evict() {
	var oldest *flow
	looked := 0
	for _, f := range d.flows { // in no order
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(d.flows, oldest.client)
	oldest.sock.Close()
}

// answers carries what the container says, until it is silent for too long.
func (d *datagrams) answers(f *flow) {
	defer d.end(f)
	for {
		patience := unanswered
		if f.replied.Load() {
			patience = answered
		}
		wait := time.Until(time.Unix(0, f.used.Load()).Add(patience))
		if wait <= 0 {
			return
		}
		_ = f.sock.SetDeadline(time.Now().Add(wait))
		err := f.sock.In(func(fd int) error {
			data := room.Get().(*[1<<16 - 1]byte)
			defer room.Put(data)
			n, err := sock.Read(fd, data[:])
			if err == nil {
				d.answer(f.client, data[:n])
			}
			return err
		})
		switch {
		case err == nil:
			f.used.Store(time.Now().UnixNano())
			f.replied.Store(true)
		case errors.Is(err, os.ErrDeadlineExceeded) || err == unix.ECONNREFUSED: // nobody listens there yet
		default:
			return
		}
	}
}

// answer sends to a client from the address that it spoke to.
func (d *datagrams) answer(c client, data []byte) {
	_ = d.listener.Now(func(fd int) error {
		return unix.Sendmsg(fd, data, source(c), sock.Address(c.from), unix.MSG_NOSIGNAL)
	})
}

func (d *datagrams) end(f *flow) {
	d.mu.Lock()
	if d.flows[f.client] == f {
		delete(d.flows, f.client)
	}
	d.mu.Unlock()
	f.sock.Close()
	d.entry.drop()
}

func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.flows {
		f.sock.Close()
	}
}
