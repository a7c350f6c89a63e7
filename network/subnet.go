package network

import (
	"fmt"
	"net/netip"
)

// The smallest subnets with room for a gateway and a container.
const (
	maxBits4 = 30
	maxBits6 = 126
)

// checkSubnet says why a prefix can be no subnet.
func checkSubnet(p netip.Prefix) error {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return fmt.Errorf("invalid subnet: write it as 192.0.2.0/24")
	case a.Is4In6():
		return fmt.Errorf("invalid subnet %s: write an IPv4 subnet as IPv4", p)
	case a.Zone() != "":
		return fmt.Errorf("invalid subnet %s: it has a zone", p)
	case p != p.Masked():
		return fmt.Errorf("invalid subnet %s: it should be %s", p, p.Masked())
	case a.Is4() && p.Bits() > maxBits4 || p.Bits() > maxBits6:
		return fmt.Errorf("invalid subnet %s: it has no room for a gateway and a container", p)
	case p.Bits() < 8:
		return fmt.Errorf("invalid subnet %s: it is larger than a /8", p)
	}
	bad := []string{"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"}
	if a.Is6() {
		bad = []string{"::/16", "fe80::/10", "fec0::/10", "ff00::/8"}
	}
	for _, reserved := range bad {
		if netip.MustParsePrefix(reserved).Overlaps(p) {
			return fmt.Errorf("invalid subnet %s: %s is for loopback, link-local, multicast or reserved addresses", p, reserved)
		}
	}
	return nil
}

// Check says what is wrong with a subnet: its prefix, a gateway or a range outside of it.
func (sub Subnet) Check() error {
	if err := checkSubnet(sub.Prefix); err != nil {
		return err
	}
	if g := sub.Gateway; g.IsValid() {
		if err := sub.usable(g); err != nil {
			return fmt.Errorf("gateway %w", err)
		}
	}
	if r := sub.Range; r.IsValid() {
		if r != r.Masked() {
			return fmt.Errorf("invalid --ip-range %s: it should be %s", r, r.Masked())
		}
		if r.Bits() < sub.Prefix.Bits() || !sub.Prefix.Contains(r.Addr()) {
			return fmt.Errorf("--ip-range %s is not within the subnet %s", r, sub.Prefix)
		}
	}
	return nil
}

// usable says why nobody can have an address of the subnet.
func (sub Subnet) usable(a netip.Addr) error {
	switch {
	case !sub.Prefix.Contains(a) || a.Zone() != "":
		return fmt.Errorf("%s is not in the subnet %s", a, sub.Prefix)
	case a == sub.Prefix.Addr():
		return fmt.Errorf("%s is the address of the subnet %s itself", a, sub.Prefix)
	case a.Is4() && a == last(sub.Prefix):
		return fmt.Errorf("%s is the broadcast address of the subnet %s", a, sub.Prefix)
	}
	return nil
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return addr4(number4(p.Masked().Addr()) | uint32(1<<(32-p.Bits())-1))
	}
	b := p.Masked().Addr().As16()
	for i := p.Bits(); i < 128; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom16(b)
}
