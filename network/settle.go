package network

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
)

// withDefaults adds the options that are settled for all networks.
func (spec *Spec) withDefaults(options map[string]string) {
	if cmp.Or(spec.Driver, Bridge) != Bridge || len(options) == 0 {
		return
	}
	all := maps.Clone(options)
	maps.Copy(all, spec.Options)
	spec.Options = all
}

// check says what is wrong with what is asked, by itself, and carries out the options.
func (spec *Spec) check() error {
	if spec.Name != "" {
		if err := CheckName(spec.Name); err != nil {
			return err
		}
	}
	spec.Driver = cmp.Or(spec.Driver, Bridge)
	switch spec.Driver {
	case Bridge, Macvlan, Ipvlan:
	case Host, None, noDriver:
		return fmt.Errorf("only one instance of \"%s\" network is allowed: it is a %w", spec.Driver, ErrPredefined)
	default:
		return fmt.Errorf("driver %q is not supported: known are %s, %s, %s", spec.Driver, Bridge, Macvlan, Ipvlan)
	}
	if spec.NoIPv4 && spec.NoIPv6 {
		return errors.New("a network needs IPv4 or IPv6")
	}
	var of [2]netip.Prefix
	for _, sub := range spec.Subnets {
		if err := sub.Check(); err != nil {
			return err
		}
		is6 := 0
		if sub.Prefix.Addr().Is6() {
			is6 = 1
		}
		if of[is6].IsValid() {
			return fmt.Errorf("subnets %s and %s: a network has one of each family at most", of[is6], sub.Prefix)
		}
		of[is6] = sub.Prefix
	}
	if spec.NoIPv4 && of[0].IsValid() || spec.NoIPv6 && of[1].IsValid() {
		return errors.New("a subnet is given of a family that is turned off")
	}
	if spec.Interface != "" {
		if err := CheckInterface(spec.Interface); err != nil {
			return err
		}
	}
	return spec.apply()
}

// settle chooses what was left open, under the store's lock.
func (s *Store) settle(n *Network, spec Spec, all []*Network, pools []Pool) error {
	read := readHost
	if s.host != nil {
		read = s.host
	}
	host, err := read()
	if err != nil {
		return err
	}
	if err := n.settleInterface(s, host, all); err != nil {
		return err
	}
	for _, sub := range n.Subnets {
		if err := n.checkOverlap(sub.Prefix, host, all); err != nil {
			return err
		}
	}
	taken := append(subnetsOf(all), host.reached()...)
	for _, sub := range n.Subnets {
		taken = append(taken, sub.Prefix)
	}
	given, has4, has6 := len(n.Subnets) > 0, n.hasFamily(false), n.hasFamily(true)
	if !has4 && !spec.NoIPv4 && (!given || spec.IPv4) {
		if pools == nil {
			pools = DefaultPools()
		}
		p, err := cut(pools, taken)
		if err != nil {
			return err
		}
		n.Subnets = append(n.Subnets, Subnet{Prefix: p})
	}
	if spec.IPv6 && !hasIPv6() {
		return errors.New("IPv6 is switched off in this kernel")
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
	return n.finish()
}

// finish checks what needs the whole network, and chooses gateways.
func (n *Network) finish() error {
	for i := range n.Subnets {
		sub := &n.Subnets[i]
		if !sub.Gateway.IsValid() {
			sub.Gateway = sub.Prefix.Addr().Next()
		}
		if sub.Prefix.Addr().Is6() && n.MTU != 0 && n.MTU < 1280 {
			return fmt.Errorf("MTU %d: IPv6 needs 1280 at least: turn it off with --ipv6=false", n.MTU)
		}
	}
	for name, a := range n.Aux {
		if sub := n.subnetOf(a); sub == nil {
			return fmt.Errorf("auxiliary address %s=%s is in none of the subnets", name, a)
		} else if err := sub.usable(a); err != nil {
			return fmt.Errorf("auxiliary address %s: %w", name, err)
		} else if a == sub.Gateway {
			return fmt.Errorf("auxiliary address %s=%s is the gateway", name, a)
		}
	}
	for _, r := range n.Routes {
		if sub := n.subnetOf(r.Gateway); sub == nil || r.To.Addr().Is4() != r.Gateway.Is4() {
			return fmt.Errorf("route to %s: the gateway %s is in no subnet of its family", r.To, r.Gateway)
		}
	}
	return nil
}

// subnetOf is the subnet that has an address; nil: none.
func (n *Network) subnetOf(a netip.Addr) *Subnet {
	for i := range n.Subnets {
		if n.Subnets[i].Prefix.Contains(a) {
			return &n.Subnets[i]
		}
	}
	return nil
}

func (n *Network) hasFamily(six bool) bool {
	for _, sub := range n.Subnets {
		if sub.Prefix.Addr().Is6() == six {
			return true
		}
	}
	return false
}

// hasIPv6 reports whether the kernel knows IPv6.
func hasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}
