package out

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// target is where what is sent to an address goes; false: nowhere.
//
// Everything that a socket of ours would take for the host's loopback is refused: 0.0.0.0 and :: mean this host to
// connect(2), and the forms of IPv4 addresses within IPv6 mean what they hold.
func (w *Way) target(a netip.Addr) (netip.Addr, bool) {
	switch {
	case a == w.gateway4:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), w.HostLoopback
	case a == w.gateway6:
		return netip.IPv6Loopback(), w.HostLoopback
	case a.Is4():
		b := a.As4()
		return a, b[0] != 0 && b[0] != 127 && b[0] < 224
	default:
		return a, !a.Is4In6() && !mapped.Contains(a) && !a.IsMulticast() && !a.IsLinkLocalUnicast()
	}
}

// mapped are the unspecified and the loopback address, and IPv4 addresses in an old form.
var mapped = netip.PrefixFrom(netip.IPv6Unspecified(), 96)

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func addr(a tcpip.Address) netip.Addr {
	b, _ := netip.AddrFromSlice(a.AsSlice())
	return b
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}
