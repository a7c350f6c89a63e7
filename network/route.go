package network

import "net/netip"

// DefaultRoute is a way out of a container.
type DefaultRoute struct {
	Endpoint *Endpoint
	Gateway  netip.Addr
}

// DefaultRoutes are the ways out: of each family, by the first network that has
// one. Internal networks have none, and those made without.
func (s *Sandbox) DefaultRoutes() []DefaultRoute {
	var list []DefaultRoute
	var has4, has6 bool
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
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
