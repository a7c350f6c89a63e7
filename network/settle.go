package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
)

// check says what is wrong with what is asked, by itself.
func (spec *Spec) check() error {
	if spec.Name != "" {
		if err := CheckName(spec.Name); err != nil {
			return err
		}
	}
	families := map[bool]netip.Prefix{}
	for _, sub := range spec.Subnets {
		if err := sub.Check(); err != nil {
			return err
		}
		is4 := sub.Prefix.Addr().Is4()
		if other, ok := families[is4]; ok {
			return fmt.Errorf("subnets %s and %s: a network has at most one of each family", other, sub.Prefix)
		}
		families[is4] = sub.Prefix
		if is4 && spec.NoIPv4 || !is4 && spec.NoIPv6 {
			return fmt.Errorf("subnet %s: its family is turned off for this network", sub.Prefix)
		}
	}
	if spec.NoIPv4 && spec.NoIPv6 {
		return fmt.Errorf("a network needs IPv4 or IPv6")
	}
	return nil
}

// settle chooses what was left open, under the store's lock.
func (s *Store) settle(n *Network, spec Spec, all []*Network) error {
	n.Driver = cmp.Or(n.Driver, Bridge)
	taken := subnetsOf(all)
	for _, sub := range n.Subnets {
		for _, other := range all {
			for _, theirs := range other.Subnets {
				if theirs.Prefix.Overlaps(sub.Prefix) {
					return fmt.Errorf("subnet %s overlaps %s of network %s", sub.Prefix, theirs.Prefix, other.Name)
				}
			}
		}
	}
	has4, has6 := false, false
	for _, sub := range n.Subnets {
		has4, has6 = has4 || sub.Prefix.Addr().Is4(), has6 || sub.Prefix.Addr().Is6()
	}
	given := len(n.Subnets) > 0
	if !has4 && !spec.NoIPv4 && (!given || spec.IPv4) {
		pools := s.Pools
		if pools == nil {
			pools = DefaultPools()
		}
		p, err := cut(pools, taken)
		if err != nil {
			return err
		}
		n.Subnets = append(n.Subnets, Subnet{Prefix: p})
	}
	if !has6 && !spec.NoIPv6 && (!given && hasIPv6() || spec.IPv6) {
		base, err := s.ula()
		if err != nil {
			return err
		}
		p, err := cut6(base, taken)
		if err != nil {
			return err
		}
		n.Subnets = append(n.Subnets, Subnet{Prefix: p})
	}
	for i := range n.Subnets {
		if sub := &n.Subnets[i]; !sub.Gateway.IsValid() {
			sub.Gateway = sub.Prefix.Addr().Next()
		}
	}
	if n.Interface == "" && n.Driver == Bridge {
		n.Interface = s.bridgeName(n)
	}
	return nil
}

// hasIPv6 reports whether the kernel knows IPv6.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// bridgeName is the interface of a bridge network: loper0 for the default one of
// the system's own store, else a name that no other store makes up.
func (s *Store) bridgeName(n *Network) string {
	if n.Name == Bridge && s.Root == SystemRoot {
		if _, err := os.Lstat("/sys/class/net/loper0"); err != nil {
			return "loper0"
		}
	}
	return "lbr-" + n.ID[:8]
}

// SystemRoot is the lasting root of the store that root has when it names none.
const SystemRoot = "/var/lib/loper"
