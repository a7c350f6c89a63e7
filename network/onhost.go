package network

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
	"loper.run/internal/userns"
)

// SystemRoot is the lasting root of the store that root has when it names none.
const SystemRoot = "/var/lib/loper"

// onHost is what the host's own network is like.
type onHost struct {
	routes []netlink.Route
	links  map[int32]string
}

func readHost() (*onHost, error) {
	c, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all, err := c.Routes()
	if err != nil {
		return nil, fmt.Errorf("read the host's routes: %w", err)
	}
	h := &onHost{links: map[int32]string{}}
	for _, r := range all {
		if r.Type != unix.RTN_UNICAST || r.Table == unix.RT_TABLE_LOCAL || r.To.Addr().IsLinkLocalUnicast() || r.To.Addr().IsMulticast() {
			continue
		}
		h.routes = append(h.routes, r)
		if _, ok := h.links[r.Index]; !ok && r.Index != 0 {
			link, err := c.LinkAt(r.Index)
			if err != nil && !errors.Is(err, unix.ENODEV) {
				return nil, err
			}
			h.links[r.Index] = link.Name
		}
	}
	return h, nil
}

// reached are the parts of the address space that the host knows a way to. Routes
// that are so wide that they stand for everything else are none.
func (h *onHost) reached() []netip.Prefix {
	var list []netip.Prefix
	for _, r := range h.routes {
		if r.To.Bits() >= 8 {
			list = append(list, r.To)
		}
	}
	return list
}

// defaultLink is the interface of the default route. Other tables have more of
// them, of gates and tunnels.
func (h *onHost) defaultLink() string {
	best := netlink.Route{}
	for _, r := range h.routes {
		if r.Table == unix.RT_TABLE_MAIN && r.To.Bits() == 0 && r.Index != 0 && (best.Index == 0 || r.Metric < best.Metric && r.To.Addr().Is4() == best.To.Addr().Is4()) {
			best = r
		}
	}
	return h.links[best.Index]
}

// checkOverlap says what else has addresses of a subnet that was asked for: another
// network, or a wire that the host is on itself.
func (n *Network) checkOverlap(p netip.Prefix, host *onHost, all []*Network) error {
	for _, other := range all {
		for _, theirs := range other.Subnets {
			if theirs.Prefix.Overlaps(p) {
				return fmt.Errorf("subnet %s overlaps %s of network %s", p, theirs.Prefix, other.Name)
			}
		}
	}
	if n.Driver != Bridge {
		return nil // it is the wire's
	}
	for _, r := range host.routes {
		if !r.Gateway.IsValid() && r.Index != 0 && r.To.Bits() >= 8 && r.To.Overlaps(p) && host.links[r.Index] != n.Interface {
			return fmt.Errorf("subnet %s overlaps %s, which the host has at %s", p, r.To, host.links[r.Index])
		}
	}
	return nil
}

// settleInterface chooses the bridge, or the parent.
func (n *Network) settleInterface(s *Store, host *onHost, all []*Network) error {
	switch {
	case n.Driver != Bridge && n.Interface == "" && n.Internal:
		n.Interface = "ldm-" + n.ID[:8] // a wire that leads nowhere
	case n.Driver != Bridge && !n.Internal && userns.Rootless():
		return fmt.Errorf("driver %s: an ordinary user's networks are on no wire of the host's: use bridge, or --internal", n.Driver)
	case n.Driver != Bridge && n.Interface == "":
		if n.Interface = host.defaultLink(); n.Interface == "" {
			return fmt.Errorf("driver %s: the host has no default route, whose interface would be used: name one with --opt parent=", n.Driver)
		}
	case n.Driver == Bridge && n.Interface != "":
		for _, other := range all {
			if other.Driver == Bridge && other.Interface == n.Interface {
				return fmt.Errorf("interface %s is that of network %s", n.Interface, other.Name)
			}
		}
	case n.Driver == Bridge:
		n.Interface = "lbr-" + n.ID[:8]
		if n.Name != Bridge || s.Root != SystemRoot {
			break
		}
		for _, other := range all {
			if other.Interface == defaultBridge {
				return nil
			}
		}
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Link(defaultBridge); errors.Is(err, unix.ENODEV) {
			n.Interface = defaultBridge
		} else if err != nil {
			return err
		}
	}
	return nil
}

// defaultBridge is the interface of the default network of the system's own store,
// unless somebody else has that name.
const defaultBridge = "loper0"
