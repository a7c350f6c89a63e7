package network

import "net/netip"

// LinkLocal is the IPv6 address that belongs to a link-layer address of six
// bytes (RFC 4291, appendix A).
func LinkLocal(mac []byte) netip.Prefix {
	a := [16]byte{0: 0xfe, 1: 0x80, 11: 0xff, 12: 0xfe}
	copy(a[8:], mac[:3])
	a[8] ^= 2
	copy(a[13:], mac[3:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}
