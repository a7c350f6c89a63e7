package ports

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// destination reads from a datagram's control messages which address it was sent to, and for IPv6 through which interface
// it came: struct in_pktinfo and struct in6_pktinfo.
func destination(control []byte) (to netip.Addr, link uint32) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return to, 0
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			to, _ = netip.AddrFromSlice(m.Data[4:8]) // the local address, also of a broadcast
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			to, _ = netip.AddrFromSlice(m.Data[:16])
			if to.IsLinkLocalUnicast() {
				link = binary.NativeEndian.Uint32(m.Data[16:])
			}
		}
	}
	return to, link
}

// source has an answer sent from the address that the client spoke to.
func source(c client) []byte {
	switch {
	case !c.to.IsValid() || c.to.IsMulticast():
		return nil
	case c.to.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: c.to.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: c.to.As16(), Ifindex: c.link})
}
