package out

import (
	"errors"
	"net/netip"
	"time"

	"loper.run/cmd/loper-net/sock"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"golang.org/x/sys/unix"
)

// How long flows live after the last packet that live shorter than others.
const (
	lookup  = 20 * time.Second // of names
	pinging = 30 * time.Second
)

// flowKey is a protocol and what it has of addresses; of a ping, the ports are its identifier.
type flowKey struct {
	protocol tcpip.TransportProtocolNumber
	id       stack.TransportEndpointID // Local: the outside's, Remote: the container's
}

// flow is a connected socket that stands for a container's port and its peer.
type flow struct {
	*sock.Flow
	key flowKey
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
		sock.Evict(w.flows)
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
	return &flow{sock.NewFlow(s), key}, nil
}

// send sends without waiting: a packet too many is lost, as on any wire.
func (w *Way) send(f *flow, data []byte) {
	f.Touch()
	err := f.Now(func(fd int) error {
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

// answers carries what comes back, until the flow is silent for too long.
func (w *Way) answers(f *flow) {
	defer w.end(f)
	f.Answers(f.patience, func(data []byte) { w.answer(f, data) }, func(errno unix.Errno) { w.unreachable(errno, f.key, 0) })
}

func (f *flow) patience() time.Duration {
	switch {
	case f.key.protocol != udp.ProtocolNumber:
		return pinging
	case f.key.id.LocalPort == 53:
		return lookup
	}
	return f.Patience()
}

func (w *Way) end(f *flow) {
	w.mu.Lock()
	if w.flows[f.key] == f {
		delete(w.flows, f.key)
	}
	w.mu.Unlock()
	f.Close()
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
