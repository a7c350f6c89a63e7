package out

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"loper.run/cmd/loper-net/sock"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"golang.org/x/sys/unix"
)

// How long a flow lives after its last packet.
const (
	unanswered = 30 * time.Second
	answered   = 3 * time.Minute
	lookup     = 20 * time.Second // of names
	pinging    = 30 * time.Second
)

// flowKey is a protocol and what it has of addresses; of a ping, the ports are its identifier.
type flowKey struct {
	protocol tcpip.TransportProtocolNumber
	id       stack.TransportEndpointID // Local: the outside's, Remote: the container's
}

// flow is a connected socket that stands for a container's port and its peer.
type flow struct {
	key     flowKey
	sock    *sock.Socket
	used    atomic.Int64 // nanoseconds since 1970
	replied atomic.Bool
}

// datagram takes a UDP packet of a container.
func (w *Way) datagram(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	f := w.flow(flowKey{udp.ProtocolNumber, id})
	if f != nil {
		w.send(f, p.Data().AsRange().ToSlice())
	}
	return true // or the stack would say that nobody listens
}

// flow returns the flow that a packet belongs to, a new one if need be; nil if there can't be one.
func (w *Way) flow(key flowKey) *flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.flows[key]; f != nil {
		return f
	}
	if len(w.flows) >= w.MaxFlows {
		w.evict()
	}
	f, err := w.newFlow(key)
	if err != nil {
		if errno := sock.Errno(err); errno != 0 {
			go w.unreachable(errno, key, 0)
		}
		return nil
	}
	w.flows[key] = f
	go w.answers(f)
	return f
}

// evict ends the flow among some that was silent for longest.
func (w *Way) evict() {
	var oldest *flow
	looked := 0
	for _, f := range w.flows { // in no order
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(w.flows, oldest.key)
	oldest.sock.Close()
}

func (w *Way) newFlow(key flowKey) (*flow, error) {
	to, ok := w.target(addr(key.id.LocalAddress))
	if !ok {
		return nil, unix.ENETUNREACH
	}
	domain, protocol := unix.AF_INET, 0
	if to.Is6() {
		domain = unix.AF_INET6
	}
	switch key.protocol {
	case icmp.ProtocolNumber4:
		protocol = unix.IPPROTO_ICMP
	case icmp.ProtocolNumber6:
		protocol = unix.IPPROTO_ICMPV6
	}
	s, err := sock.Open(domain, unix.SOCK_DGRAM, protocol)
	if err != nil {
		return nil, errors.New("no socket") // not the network's fault; a host may forbid pings
	}
	port := key.id.LocalPort
	if protocol != 0 {
		port = 0
	}
	if err := s.Connect(netip.AddrPortFrom(to, port)); err != nil {
		s.Close()
		return nil, err
	}
	f := &flow{key: key, sock: s}
	f.used.Store(time.Now().UnixNano())
	return f, nil
}

// send sends without waiting: a packet too many is lost, as on any wire.
func (w *Way) send(f *flow, data []byte) {
	f.used.Store(time.Now().UnixNano())
	err := f.sock.Now(func(fd int) error {
		_, err := sock.Send(fd, data)
		if err == unix.ECONNREFUSED { // of the packet before
			w.unreachable(unix.ECONNREFUSED, f.key, 0)
			_, err = sock.Send(fd, data)
		}
		return err
	})
	switch err {
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ECONNREFUSED:
		w.unreachable(err.(unix.Errno), f.key, 0)
	}
}

// room is for one datagram.
var room = sync.Pool{New: func() any { return new([maxPacket]byte) }}

// answers carries what comes back, until the flow is silent for too long.
func (w *Way) answers(f *flow) {
	defer w.end(f)
	for {
		wait := time.Until(time.Unix(0, f.used.Load()).Add(f.patience()))
		if wait <= 0 {
			return
		}
		_ = f.sock.SetDeadline(time.Now().Add(wait))
		var data *[maxPacket]byte
		var n int
		err := f.sock.In(func(fd int) (err error) {
			data = room.Get().(*[maxPacket]byte)
			if n, err = sock.Read(fd, data[:]); err != nil {
				room.Put(data)
			}
			return err
		})
		switch errno := sock.Errno(err); {
		case err == nil:
			f.used.Store(time.Now().UnixNano())
			f.replied.Store(true)
			w.answer(f, data[:n])
			room.Put(data)
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errno == unix.ECONNREFUSED || errno == unix.EHOSTUNREACH || errno == unix.ENETUNREACH:
			w.unreachable(errno, f.key, 0)
		default:
			return
		}
	}
}

func (f *flow) patience() time.Duration {
	switch {
	case f.key.protocol != udp.ProtocolNumber:
		return pinging
	case f.key.id.LocalPort == 53:
		return lookup
	case f.replied.Load():
		return answered
	}
	return unanswered
}

func (w *Way) end(f *flow) {
	w.mu.Lock()
	if w.flows[f.key] == f {
		delete(w.flows, f.key)
	}
	w.mu.Unlock()
	f.sock.Close()
}

// answer sends a datagram to the container, from whom it asked.
func (w *Way) answer(f *flow, data []byte) {
	if f.key.protocol != udp.ProtocolNumber {
		w.pong(f, data)
		return
	}
	h := make(header.UDP, header.UDPMinimumSize)
	h.Encode(&header.UDPFields{SrcPort: f.key.id.LocalPort, DstPort: f.key.id.RemotePort, Length: uint16(len(h) + len(data))})
	w.packet(f.key.id, udp.ProtocolNumber, h, data)
}
