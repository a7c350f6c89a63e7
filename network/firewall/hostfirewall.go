package firewall

import (
	"fmt"
	"maps"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/internal/nft"
	"loper.run/network"
)

// asks reports whether a container has published ports that the host's firewall
// decides about.
func asks(sb *network.Sandbox) bool {
	return !sb.PublishOpen && len(sb.Ports) > 0 && len(bridged(sb)) > 0
}

// opened is a container whose ports ask nobody.
func opened(sb *network.Sandbox) *network.Sandbox {
	own := *sb
	own.PublishOpen = true
	return &own
}

// gated makes sure that packets which the host's firewall lets in find the way
// to published ports.
func (s *session) gated() error {
	links, err := netlink.OpenIn(s.Host)
	if err != nil {
		return err
	}
	defer links.Close()
	g := gateOf(s.halves[0].table.Name)
	if open, err := g.isOpen(links); open || err != nil {
		return err
	}
	var b nft.Batch
	for _, h := range s.halves {
		g.passage(&b, h)
	}
	return s.makeGate(links, &b)
}

// makeGate makes what is missing of the gate, and opens it when a batch that
// tells the tables of it is carried out.
func (s *session) makeGate(links *netlink.Conn, b *nft.Batch) error {
	g := gateOf(s.halves[0].table.Name)
	err := g.make(links, s.Host)
	if err == nil {
		err = s.conn.Commit(b)
	}
	if err == nil {
		err = g.open(links)
	}
	if err != nil {
		return fmt.Errorf("the way of published ports through the host's firewall: %w", err)
	}
	return s.remember()
}

// closeGate takes the gate away.
func (s *session) closeGate() error {
	links, err := netlink.OpenIn(s.Host)
	if err != nil {
		return err
	}
	defer links.Close()
	g := gateOf(s.halves[0].table.Name)
	return g.close(links)
}

// accommodate has others' rules let our packets through, also those of a
// container that is about to start.
func (s *session) accommodate(sb *network.Sandbox) (HostRules, error) {
	h := s.halves[0]
	f := Friends{Table: h.table.Name, Bridges: map[string]bool{}}
	_, there, err := s.conn.Table(h.table.Family, h.table.Name)
	if err != nil {
		return HostRules{}, err
	}
	if there {
		if f.Gate, err = s.conn.HasChain(h.chain(gateChain)); err != nil {
			return HostRules{}, err
		}
		bridges, err := s.conn.Elements(h.interfaces(bridges))
		if err != nil {
			return HostRules{}, err
		}
		internal, err := s.conn.Elements(h.interfaces(internal))
		if err != nil {
			return HostRules{}, err
		}
		for _, e := range bridges {
			f.Bridges[name(e)] = true
		}
		for _, e := range internal {
			delete(f.Bridges, name(e))
		}
	}
	if sb != nil {
		f.Gate = f.Gate || asks(sb)
		maps.Copy(f.Bridges, leaving(sb))
	}
	return Accommodate(s.conn, f)
}

// name is the interface that an element is.
func name(e nft.Element) string {
	before, _, _ := strings.Cut(string(e.Key), "\x00")
	return before
}
