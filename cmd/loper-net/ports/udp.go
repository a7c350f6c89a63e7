package ports

import (
	"errors"
	"net/netip"
	"os"
	"sync"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/sock"

	"golang.org/x/sys/unix"
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
	*sock.Flow
	client client
}

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
			f.Touch()
			_ = f.Now(func(fd int) error { _, err := sock.Send(fd, data[:n]); return err })
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
		sock.Evict(d.flows)
	}
	if !d.entry.take() {
		return nil
	}
	s, err := d.entry.reach(inside.UDP, c.from)
	if err != nil {
		d.entry.drop()
		return nil
	}
	f := &flow{sock.NewFlow(s), c}
	d.flows[c] = f
	go d.answers(f)
	return f
}

// answers carries what the container says, until it is silent for too long.
func (d *datagrams) answers(f *flow) {
	defer d.end(f)
	f.Answers(f.Patience, func(data []byte) { d.answer(f.client, data) }, func(unix.Errno) {}) // nobody listens there yet
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
	f.Close()
	d.entry.drop()
}

func (d *datagrams) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.flows {
		f.Close()
	}
}
