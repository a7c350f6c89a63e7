package firewall

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
	"loper.run/network"
)

// addNetworks adds what the rules have to know of a container's networks.
func (h *half) addNetworks(b *nft.Batch, sb *network.Sandbox) {
	for _, e := range bridged(sb) {
		name := nft.Name(e.Link)
		for _, is := range []struct {
			in  bool
			set string
		}{{true, bridges}, {e.Internal, internal}, {e.Isolated, isolated}, {!e.NoMasquerade && !e.Internal, masquerade}} {
			if is.in {
				b.AddElements(h.interfaces(is.set), nft.Element{Key: name})
			}
		}
		with := h.same()
		if e.NoICC {
			with = h.apart()
		}
		b.AddElements(with, nft.Element{Key: nft.Key(name, name)})
		for _, a := range e.Addresses {
			if a.Addr().Is6() == h.six {
				from, to := ends(a)
				b.AddElements(h.home(), nft.Element{Key: nft.Key(name, nft.Addr(from)), End: nft.Key(name, nft.Addr(to))})
				if e.Mode == "" { // on a bridge that is somebody else's others have such addresses too
					b.AddElements(h.subnets(), nft.Element{Key: nft.Addr(from), End: nft.Addr(to)})
				}
			}
		}
	}
}

// ends are the first and the last address of a range.
func ends(p netip.Prefix) (from, to netip.Addr) {
	from = p.Masked().Addr()
	last := from.AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	to, _ = netip.AddrFromSlice(last)
	return from, to
}

// RemoveNetwork forgets a network whose bridge is going. With the last one all
// that the store has of rules goes.
func (f *Firewall) RemoveNetwork(n *network.Network) error {
	if n.Driver != network.Bridge {
		return nil
	}
	s, err := f.begin()
	if err != nil {
		return err
	}
	defer s.end()
	var b nft.Batch
	last := true
	for _, h := range s.halves {
		_, there, err := s.conn.Table(h.table.Family, h.table.Name)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		bridges, err := s.conn.Elements(h.interfaces(bridges))
		if err != nil {
			return err
		}
		name := nft.Name(n.Interface)
		if !slices.ContainsFunc(bridges, func(e nft.Element) bool { return !slices.Equal(e.Key, name) }) {
			b.DeleteTable(h.table)
			b.AddTable(s.guard.table) // so that it can be deleted
			b.DeleteTable(s.guard.table)
			continue
		}
		last = false
		for _, set := range h.networkSets() {
			elements, err := s.conn.Elements(set)
			if err != nil {
				return err
			}
			elements = slices.DeleteFunc(elements, func(e nft.Element) bool { return !slices.Equal(e.Key[:len(name)], name) })
			b.DeleteElements(set, elements...)
		}
		for _, sub := range n.Subnets {
			if sub.Prefix.Addr().Is6() == h.six {
				from, to := ends(sub.Prefix)
				e := nft.Element{Key: nft.Addr(from), End: nft.Addr(to)}
				b.AddElements(h.subnets(), e) // so that it can be deleted
				b.DeleteElements(h.subnets(), e)
			}
		}
	}
	if err := s.conn.Commit(&b); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if last {
		if err := s.closeGate(); err != nil {
			return err
		}
	} else {
		var b nft.Batch
		s.guard.removeNetwork(&b, n.ID)
		if err := s.conn.Commit(&b); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	_, err = s.accommodate(nil)
	return err
}
