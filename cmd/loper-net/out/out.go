// Package out is the way out of a network namespace for who has no rights over the host's network: packets of a tun
// interface end in a network stack of our own, and what is in them goes on through sockets of this process.
//
// So the outside sees the host's address, and containers reach what a process of the user reaches, except the host's
// loopback addresses and link-local IPv6, which are nobody else's business.
package out

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"loper.run/internal/netcontrol"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// Settings say how the way out works.
type Settings struct {
	MTU          uint32
	HostLoopback bool      // the gateway's address leads to the host's loopback
	Log          io.Writer // for what should not happen
	MaxTCP       int       // connections; 0: maxTCP
	MaxFlows     int       // flows of UDP and pings; 0: maxFlows
}

// The limits. A packet beyond them is as one that a full network loses.
const (
	maxTCP     = 8192
	maxFlows   = 4096
	maxOpening = 1024 // connections that wait for the other side's answer
	// share is the part of all connections, and of those that wait, that one container may have.
	share = 4
)

const nic tcpip.NICID = 1

// Way is a way out.
type Way struct {
	Settings
	stack     *stack.Stack
	link      *link
	forwarder *tcp.Forwarder

	gateway4, gateway6 netip.Addr
	own4, own6         tcpip.Address // of the interface
	connections        atomic.Int64

	mu       sync.Mutex
	flows    map[flowKey]*flow
	openings map[stack.TransportEndpointID]uint32 // the first sequence number of those that wait
	sources  map[tcpip.Address]*source
}

// New makes a way out of a tun interface, which it owns from then on. Run carries packets.
func New(tun *os.File, s Settings) (*Way, error) {
	l, err := newLink(tun, s.MTU)
	if err != nil {
		return nil, err
	}
	if s.MaxTCP == 0 {
		s.MaxTCP = maxTCP
	}
	if s.MaxFlows == 0 {
		s.MaxFlows = maxFlows
	}
	w := &Way{
		Settings: s, link: l, flows: map[flowKey]*flow{}, openings: map[stack.TransportEndpointID]uint32{}, sources: map[tcpip.Address]*source{},
		gateway4: netip.MustParseAddr(netcontrol.Gateway), gateway6: netip.MustParseAddr(netcontrol.Gateway6),
		own4: address(netip.MustParseAddr(netcontrol.Address)), own6: address(netip.MustParseAddr(netcontrol.Address6)),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
			HandleLocal:        false,
		}),
	}
	if err := w.configure(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// configure has the stack take every packet as its own.
func (w *Way) configure() error {
	s := w.stack
	sack, moderate, delay, recovery := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.TCPDelayEnabled(false), tcpip.TCPRecovery(0)
	cubic, waiting := tcpip.CongestionControlOption("cubic"), tcpip.TCPTimeWaitTimeoutOption(time.Second)
	// The other end is in the same memory, so windows need not be large; those of the real connections are the kernel's.
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: 2 << 20}
	sendRange := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: 256 << 10, Max: 2 << 20}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &delay, &recovery, &cubic, &waiting, &receive, &sendRange} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("the network stack: %T: %s", o, err)
		}
	}
	if err := s.CreateNICWithOptions(nic, w.link, stack.NICOptions{Disabled: true}); err != nil {
		return fmt.Errorf("the network stack: interface: %s", err)
	}
	for _, a := range []netip.Addr{w.gateway4, w.gateway6} {
		p := tcpip.ProtocolAddress{Protocol: protocolOf(a), AddressWithPrefix: address(a).WithPrefix()}
		if err := s.AddProtocolAddress(nic, p, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("the network stack: address %s: %s", a, err)
		}
	}
	for _, err := range []tcpip.Error{s.SetPromiscuousMode(nic, true), s.SetSpoofing(nic, true)} {
		if err != nil {
			return fmt.Errorf("the network stack: %s", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	w.forwarder = tcp.NewForwarder(s, 0, maxOpening, w.connect)
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, w.opening)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, w.datagram)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber4, w.ping)
	s.SetTransportProtocolHandler(icmp.ProtocolNumber6, w.ping)
	if err := s.EnableNIC(nic); err != nil {
		return fmt.Errorf("the network stack: %s", err)
	}
	return nil
}

// Run carries packets until Close, or until the interface is gone.
func (w *Way) Run() error { return w.link.run() }

// Close ends all connections.
func (w *Way) Close() {
	w.link.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.flows {
		f.Close()
	}
}

func (w *Way) logf(format string, args ...any) {
	if w.Log != nil {
		fmt.Fprintf(w.Log, "loper-net: way out: "+format+"\n", args...)
	}
}
