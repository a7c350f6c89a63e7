package network

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseSubnets reads subnets, and the gateways and ranges that belong to those
// that contain them.
func ParseSubnets(subnets, gateways, ranges []string) ([]Subnet, error) {
	var list []Subnet
	for _, word := range subnets {
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %q: write it as 192.0.2.0/24", word)
		}
		list = append(list, Subnet{Prefix: p})
	}
	of := func(a netip.Addr) *Subnet {
		for i := range list {
			if list[i].Prefix.Contains(a) {
				return &list[i]
			}
		}
		return nil
	}
	for _, word := range gateways {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return nil, fmt.Errorf("invalid gateway %q: write an address", word)
		}
		sub := of(a)
		switch {
		case len(list) == 0:
			return nil, fmt.Errorf("gateway %s: give the subnet that it is in too", a)
		case sub == nil:
			return nil, fmt.Errorf("gateway %s is in none of the subnets", a)
		case sub.Gateway.IsValid():
			return nil, fmt.Errorf("gateways %s and %s: the subnet %s has one at most", sub.Gateway, a, sub.Prefix)
		}
		sub.Gateway = a
	}
	for _, word := range ranges {
		p, err := netip.ParsePrefix(word)
		if err != nil {
			return nil, fmt.Errorf("invalid --ip-range %q: write it as 192.0.2.128/25", word)
		}
		sub := of(p.Addr())
		switch {
		case sub == nil:
			return nil, fmt.Errorf("--ip-range %s is in none of the subnets", p)
		case sub.Range.IsValid():
			return nil, fmt.Errorf("--ip-range %s and %s: the subnet %s has one at most", sub.Range, p, sub.Prefix)
		}
		sub.Range = p
	}
	return list, nil
}

// ParseAux reads NAME=ADDRESS of an address that no container is to get.
func ParseAux(aux map[string]netip.Addr, word string) error {
	name, address, ok := strings.Cut(word, "=")
	a, err := netip.ParseAddr(address)
	if !ok || name == "" || err != nil {
		return fmt.Errorf("invalid auxiliary address %q: write NAME=ADDRESS", word)
	}
	aux[name] = a
	return nil
}

// ParseRoute reads SUBNET,GATEWAY and perhaps a metric.
func ParseRoute(word string) (r Route, err error) {
	words := strings.Split(word, ",")
	if len(words) < 2 || len(words) > 3 {
		return r, fmt.Errorf("invalid route %q: write SUBNET,GATEWAY or SUBNET,GATEWAY,METRIC", word)
	}
	if r.To, err = netip.ParsePrefix(words[0]); err != nil || r.To != r.To.Masked() || r.To.Addr().Is4In6() {
		return r, fmt.Errorf("invalid route %q: %q is no subnet", word, words[0])
	}
	if r.Gateway, err = netip.ParseAddr(words[1]); err != nil || r.Gateway.Zone() != "" {
		return r, fmt.Errorf("invalid route %q: %q is no address of a gateway", word, words[1])
	}
	if len(words) == 3 {
		m, err := strconv.ParseUint(words[2], 10, 31)
		if err != nil || m == 0 {
			return r, fmt.Errorf("invalid route %q: %q is no metric", word, words[2])
		}
		r.Metric = uint32(m)
	}
	return r, nil
}
