package egress

import "net/netip"

// Special tells of addresses that no name gives a right to: those of the
// container itself, of the link, of groups, and of clouds' metadata. Who has a
// zone gives its names the addresses of others. A prefix that leads to IPv4
// leads no farther than the IPv4 address in it.
func Special(a netip.Addr) bool {
	if a = inner(a.Unmap()); !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return true
	}
	switch a.String() {
	case "255.255.255.255",
		"100.100.100.200",    // Alibaba
		"168.63.129.16",      // Azure
		"192.0.0.192",        // Oracle
		"fd00:42::42",        // Scaleway
		"fd00:ec2::254",      // Amazon
		"fd00:ec2::23",       // Amazon's containers
		"fd20:ce::254",       // Google
		"fd00:c1::a9fe:a9fe": // Oracle
		return true
	}
	return false
}

// inner is the IPv4 address that an IPv6 address stands for, else the address:
// that of NAT64 (RFC 6052), of 6to4 (RFC 3056), and of the old form (RFC 4291).
func inner(a netip.Addr) netip.Addr {
	b := a.As16()
	at := -1
	switch {
	case a.Is4() || a.IsLoopback() || a.IsUnspecified():
	case [12]byte(b[:12]) == [12]byte{0, 0x64, 0xff, 0x9b}, [12]byte(b[:12]) == [12]byte{}:
		at = 12
	case b[0] == 0x20 && b[1] == 0x02:
		at = 2
	}
	if at < 0 {
		return a
	}
	return netip.AddrFrom4([4]byte(b[at : at+4]))
}
