package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"loper.run/internal/userns"
)

// DefaultRoute is a way out of a container.
type DefaultRoute struct {
	Endpoint *Endpoint
	Gateway  netip.Addr
}

// DefaultRoutes are the ways out: of each family, by the network of the highest
// priority, or the first of those, that has one. Internal networks have none, and
// those made without.
func (s *Sandbox) DefaultRoutes() []DefaultRoute {
	places := make([]*Endpoint, len(s.Endpoints))
	for i := range places {
		places[i] = &s.Endpoints[i]
	}
	slices.SortStableFunc(places, func(a, b *Endpoint) int { return cmp.Compare(b.Priority, a.Priority) })
	var list []DefaultRoute
	var has4, has6 bool
	for _, e := range places {
		for _, g := range e.Gateways {
			has := &has6
			if g.Is4() {
				has = &has4
			}
			if !e.Internal && !e.NoDefault && !*has {
				*has = true
				list = append(list, DefaultRoute{e, g})
			}
		}
	}
	return list
}

// Target is an address of a container that published ports lead to.
type Target struct {
	Address netip.Prefix // with the subnet's bits
	Gateway netip.Addr
}

// Targets are where published ports lead to, of each family one at most: where
// the container's way out is, so that answers go back the same way.
func (s *Sandbox) Targets() []Target {
	var list []Target
	for _, route := range s.DefaultRoutes() {
		if route.Endpoint.Driver != Bridge {
			continue
		}
		for _, a := range route.Endpoint.Addresses {
			if a.Addr().Is4() == route.Gateway.Is4() {
				list = append(list, Target{a, route.Gateway})
			}
		}
	}
	return list
}

// checkTargets refuses a port of a host's address that nothing of its family is
// behind; what carries an ordinary user's ports leads to the other family too.
// With no way in at all ports lead somewhere once the container is connected to
// another network.
func (s *Sandbox) checkTargets(ports []Port) error {
	if userns.Rootless() {
		return nil
	}
	targets := s.Targets()
	for _, p := range ports {
		if len(targets) == 0 || !p.Host.IsValid() || slices.ContainsFunc(targets, func(t Target) bool { return t.Address.Addr().Is4() == p.Host.Is4() }) {
			continue
		}
		family := "IPv6"
		if p.Host.Is4() {
			family = "IPv4"
		}
		return fmt.Errorf("publish port %s: the container has no %s address that it could lead to: leave the host address out", p, family)
	}
	return nil
}
