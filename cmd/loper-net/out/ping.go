package out

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
)

// The header of an echo request and its answer is the same in both families.
const (
	echoHeader = 8
	echoID     = 4
)

// ping takes an ICMP packet of a container: what is no echo request is for nobody. It goes on through a socket of the kind
// that a host gives to users for pings, if it gives them any.
func (w *Way) ping(id stack.TransportEndpointID, p *stack.PacketBuffer) bool {
	v := stack.PayloadSince(p.TransportHeader())
	defer v.Release()
	data := v.AsSlice()
	destination := addr(id.LocalAddress)
	if destination == w.gateway4 || destination == w.gateway6 {
		return false // the stack's own addresses answer
	}
	protocol, request := icmp.ProtocolNumber4, byte(header.ICMPv4Echo)
	if destination.Is6() {
		protocol, request = icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest)
	}
	if len(data) < echoHeader || data[0] != request || data[1] != 0 {
		return true
	}
	ident := binary.BigEndian.Uint16(data[echoID:])
	id.LocalPort, id.RemotePort = ident, ident
	if f := w.flow(flowKey{protocol, id}); f != nil {
		w.send(f, data) // the kernel sets identifier and checksum
	}
	return true
}

// pong gives an answer back with the container's own identifier.
func (w *Way) pong(f *flow, data []byte) {
	reply := byte(header.ICMPv4EchoReply)
	if f.key.protocol == icmp.ProtocolNumber6 {
		reply = byte(header.ICMPv6EchoReply)
	}
	if len(data) < echoHeader || data[0] != reply {
		return
	}
	binary.BigEndian.PutUint16(data[echoID:], f.key.id.LocalPort)
	w.packet(f.key.id, f.key.protocol, data[:echoHeader], data[echoHeader:])
}
