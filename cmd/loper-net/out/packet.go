package out

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"golang.org/x/sys/unix"
)

// packet sends a packet to a container from the address that it spoke to, and sets the checksum in its header.
func (w *Way) packet(id stack.TransportEndpointID, protocol tcpip.TransportProtocolNumber, head, data []byte) {
	r, err := w.stack.FindRoute(nic, id.LocalAddress, id.RemoteAddress, protocolOf(addr(id.RemoteAddress)), false)
	if err != nil {
		return
	}
	defer r.Release()
	length := uint16(len(head) + len(data))
	switch protocol {
	case udp.ProtocolNumber:
		h := header.UDP(head)
		sum := checksum.Combine(r.PseudoHeaderChecksum(protocol, length), checksum.Checksum(data, 0))
		if sum = ^h.CalculateChecksum(sum); sum == 0 {
			sum = 0xffff // 0 says that there is none
		}
		h.SetChecksum(sum)
	case icmp.ProtocolNumber4:
		h := header.ICMPv4(head)
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Combine(checksum.Checksum(h, 0), checksum.Checksum(data, 0)))
	case icmp.ProtocolNumber6:
		h := header.ICMPv6(head)
		h.SetChecksum(0)
		sum := checksum.Combine(r.PseudoHeaderChecksum(protocol, length), checksum.Checksum(data, 0))
		h.SetChecksum(^checksum.Checksum(h, sum))
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(head) + int(r.MaxHeaderLength()), Payload: buffer.MakeWithData(data)})
	defer p.DecRef()
	copy(p.TransportHeader().Push(len(head)), head)
	p.TransportProtocolNumber = protocol
	_ = r.WritePacket(stack.NetworkHeaderParams{Protocol: protocol, TTL: r.DefaultTTL()}, p) // a full interface loses it
}

// unreachable tells a container with ICMP why what it sent did not arrive. It reports whether there is a message for this
// error. sequence is of the TCP packet.
func (w *Way) unreachable(errno unix.Errno, key flowKey, sequence uint32) bool {
	var code4, code6 uint8
	switch errno {
	case unix.ENETUNREACH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EINVAL:
		code4, code6 = uint8(header.ICMPv4NetUnreachable), uint8(header.ICMPv6NetworkUnreachable)
	case unix.EHOSTUNREACH, unix.EHOSTDOWN:
		code4, code6 = uint8(header.ICMPv4HostUnreachable), uint8(header.ICMPv6AddressUnreachable)
	case unix.EACCES, unix.EPERM:
		code4, code6 = uint8(header.ICMPv4AdminProhibited), uint8(header.ICMPv6Prohibited)
	case unix.ECONNREFUSED:
		if key.protocol == tcp.ProtocolNumber {
			return false // says that itself
		}
		code4, code6 = uint8(header.ICMPv4PortUnreachable), uint8(header.ICMPv6PortUnreachable)
	default:
		return false
	}
	id := key.id
	// What the container sent, as far as it goes back with the message.
	ports := make(header.TCP, 8)
	ports.SetSourcePort(id.RemotePort)
	ports.SetDestinationPort(id.LocalPort)
	switch key.protocol {
	case tcp.ProtocolNumber:
		ports.SetSequenceNumber(sequence)
	case udp.ProtocolNumber:
		header.UDP(ports).SetLength(header.UDPMinimumSize)
	case icmp.ProtocolNumber4:
		copy(ports, []byte{byte(header.ICMPv4Echo), 0, 0, 0, byte(id.LocalPort >> 8), byte(id.LocalPort), 0, 0})
	case icmp.ProtocolNumber6:
		copy(ports, []byte{byte(header.ICMPv6EchoRequest), 0, 0, 0, byte(id.LocalPort >> 8), byte(id.LocalPort), 0, 0})
	}
	// An address that is not reached says nothing: it comes from the gateway.
	if id.RemoteAddress.Len() == header.IPv4AddressSize {
		inner := make(header.IPv4, header.IPv4MinimumSize, header.IPv4MinimumSize+len(ports))
		inner.Encode(&header.IPv4Fields{TotalLength: uint16(cap(inner)), TTL: 64, Protocol: uint8(key.protocol), SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress})
		inner.SetChecksum(^inner.CalculateChecksum())
		h := make(header.ICMPv4, header.ICMPv4MinimumSize)
		h.SetType(header.ICMPv4DstUnreachable)
		h.SetCode(header.ICMPv4Code(code4))
		id.LocalAddress = address(w.gateway4)
		w.packet(id, icmp.ProtocolNumber4, h, append(inner, ports...))
		return true
	}
	inner := make(header.IPv6, header.IPv6MinimumSize, header.IPv6MinimumSize+len(ports))
	inner.Encode(&header.IPv6Fields{PayloadLength: uint16(len(ports)), TransportProtocol: key.protocol, HopLimit: 64, SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress})
	h := make(header.ICMPv6, header.ICMPv6DstUnreachableMinimumSize)
	h.SetType(header.ICMPv6DstUnreachable)
	h.SetCode(header.ICMPv6Code(code6))
	id.LocalAddress = address(w.gateway6)
	w.packet(id, icmp.ProtocolNumber6, h, append(inner, ports...))
	return true
}
