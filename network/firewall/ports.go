package firewall

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
	"loper.run/network"
)

// anyPorts leads from a port of all the host's addresses to a container's.
func (h *half) anyPorts() nft.Set {
	return nft.Set{Table: h.table, Name: "ports", Key: []nft.Type{nft.Proto, nft.Service}, Data: []nft.Type{h.addr, nft.Service}}
}

// hostPorts leads from a port of one of the host's addresses to a container's.
func (h *half) hostPorts() nft.Set {
	return nft.Set{Table: h.table, Name: "host-ports", Key: []nft.Type{h.addr, nft.Proto, nft.Service}, Data: []nft.Type{h.addr, nft.Service}}
}

// ports adds the chains that lead from a published port to its container.
func (h *half) ports(b *nft.Batch) {
	b.AddSet(h.anyPorts())
	b.AddSet(h.hostPorts())
	translate := h.chain("ports")
	b.AddChain(translate)
	b.AddRule(translate, "", nft.DNATOf(h.hostPorts(), h.daddr, nft.L4Proto, nft.DPort))
	b.AddRule(translate, "", nft.DNATOf(h.anyPorts(), nft.L4Proto, nft.DPort))

	h.comeIn(b, translate)

	own := nft.Chain{Table: h.table, Name: "output", Type: nft.NAT, Hook: nft.Output, Priority: -100}
	b.AddChain(own)
	if h.deaf { // refused at once, so that 127.0.0.1 is tried next
		b.AddRule(own, "", is(h.daddr, h.loopback), nft.Accept())
	}
	b.AddRule(own, "", localOnly(), nft.Jump(translate.Name))
}

// target is the container's address that published ports lead to.
func (h *half) target(sb *network.Sandbox) (netip.Addr, bool) {
	for _, t := range sb.Targets() {
		if a := t.Address.Addr(); a.Is6() == h.six {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// portElements are a container's elements of both maps.
func (h *half) portElements(sb *network.Sandbox) (everywhere, one []nft.Element) {
	to, ok := h.target(sb)
	if !ok {
		return nil, nil
	}
	for _, p := range sb.Ports {
		e := nft.Element{Data: nft.Key(nft.Addr(to), nft.Port(p.ContainerPort)), Comment: network.ShortID(sb.Container)}
		proto := []byte{protocol(p.Protocol)}
		switch {
		case !p.Host.IsValid() || p.Host == netip.IPv4Unspecified() && !h.six || p.Host == netip.IPv6Unspecified() && h.six:
			e.Key = nft.Key(proto, nft.Port(p.HostPort))
			everywhere = append(everywhere, e)
		case p.Host.Is6() == h.six:
			e.Key = nft.Key(nft.Addr(p.Host), proto, nft.Port(p.HostPort))
			one = append(one, e)
		}
	}
	return everywhere, one
}

func protocol(name string) byte {
	switch name {
	case "udp":
		return unix.IPPROTO_UDP
	case "sctp":
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

func (h *half) addPorts(b *nft.Batch, sb *network.Sandbox) {
	everywhere, one := h.portElements(sb)
	b.AddElements(h.anyPorts(), everywhere...)
	b.AddElements(h.hostPorts(), one...)
	b.AddElements(h.any(which(sb)), keys(everywhere)...)
	b.AddElements(h.host(which(sb)), keys(one)...)
}

// deletePorts deletes a container's elements, and not what another has put in
// their place.
func (h *half) deletePorts(c *nft.Conn, b *nft.Batch, sb *network.Sandbox) error {
	everywhere, one := h.portElements(sb)
	for _, part := range []struct {
		set      nft.Set
		elements []nft.Element
	}{{h.anyPorts(), everywhere}, {h.hostPorts(), one}, {h.any(which(sb)), keys(everywhere)}, {h.host(which(sb)), keys(one)}} {
		own, err := h.present(c, part.set, part.elements)
		if err != nil {
			return err
		}
		b.DeleteElements(part.set, own...)
	}
	return nil
}

// present are those elements that a set has, from the same container.
func (h *half) present(c *nft.Conn, set nft.Set, elements []nft.Element) ([]nft.Element, error) {
	find := func(e nft.Element) (nft.Element, bool, error) { return c.Element(set, e.Key) }
	if len(elements) > 20 { // one question for all
		all, err := c.Elements(set)
		if errors.Is(err, unix.ENOENT) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		byKey := make(map[string]nft.Element, len(all))
		for _, e := range all {
			byKey[string(e.Key)] = e
		}
		find = func(e nft.Element) (nft.Element, bool, error) {
			found, ok := byKey[string(e.Key)]
			return found, ok, nil
		}
	}
	var own []nft.Element
	for _, e := range elements {
		found, ok, err := find(e)
		if err != nil {
			return nil, err
		}
		if ok && found.Comment == e.Comment && slices.Equal(found.Data, e.Data) {
			own = append(own, e)
		}
	}
	return own, nil
}

// forget lets the kernel find out anew where the packets of a container's UDP
// ports go: their connections never end by themselves as long as somebody sends.
// It is the last that a session does.
func (s *session) forget(sb *network.Sandbox) error {
	hosts := map[uint16][]netip.Addr{} // by port
	for _, p := range sb.Ports {
		if p.Protocol == "udp" {
			hosts[p.HostPort] = append(hosts[p.HostPort], p.Host)
		}
	}
	if len(hosts) == 0 {
		return nil
	}
	s.lock.Close() // others need not wait while the kernel reads its table
	_, err := s.conn.Forget(unix.IPPROTO_UDP, func(f nft.Flow) bool {
		return slices.ContainsFunc(hosts[f.Port], func(host netip.Addr) bool {
			return !host.IsValid() || host == f.To || host.IsUnspecified() && host.Is6() == f.To.Is6()
		})
	})
	return err
}
