package link

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// interfaces makes the containers' interfaces. They are down, and have no
// addresses.
func (w *work) interfaces() error {
	for i := range w.places {
		p := &w.places[i]
		again, err := w.make(p)
		if again && err == nil {
			_, err = w.make(p)
		}
		if err != nil {
			return fmt.Errorf("connect to the network %s: %w", p.Network, err)
		}
	}
	return nil
}

// make makes one interface; again: what was in its way no longer is.
func (w *work) make(p *place) (again bool, err error) {
	inner := netlink.Settings{Name: p.Interface, Address: p.mac, MTU: p.mtu(), Namespace: w.ns}
	switch p.Driver {
	case network.Macvlan, network.Ipvlan:
		return false, w.sub(p, inner)
	}
	requests := []netlink.Request{
		netlink.Veth(netlink.Settings{Name: p.HostInterface, MTU: inner.MTU, Master: p.over.Index, Group: network.PortGroup(p.NetworkID)}, inner),
		netlink.Set(netlink.Settings{Name: p.HostInterface, NoLinkLocal: true}).Or(noIPv6...),
	}
	if p.NoICC {
		requests = append(requests, netlink.Isolate(p.HostInterface))
	}
	requests = append(requests, netlink.Set(netlink.Settings{Name: p.HostInterface, Up: true, Alias: mark(p.Endpoint)}))
	requests = append(requests, netlink.FindLink(p.HostInterface))
	err = w.host.Ask(requests)
	l, findErr := requests[len(requests)-1].Link()
	switch made := requests[0].Err; {
	case errors.Is(made, unix.EEXIST) && findErr == nil:
		// What a killed start left has this container's name, and nobody but
		// this container's next start has a use for it.
		return true, w.host.Ask([]netlink.Request{netlink.Delete(p.HostInterface).Or(unix.ENODEV)})
	case errors.Is(made, unix.EEXIST):
		return false, fmt.Errorf("the container has an interface %s already", p.Interface)
	case errors.Is(made, unix.ENODEV), errors.Is(made, unix.EINVAL):
		// The bridge was deleted since it was found.
		return true, w.networks()
	case made != nil:
		return false, missing(made, "veth", err)
	}
	p.outer, p.inside = l.Index, l.Peer
	return false, err
}

// addresses gives the interfaces addresses and routes, and sets them up.
func (w *work) addresses() error {
	var requests []netlink.Request
	add := func(r netlink.Request) { requests = append(requests, r) }
	routes := w.sandbox.DefaultRoutes()
	for i := range w.places {
		p := &w.places[i]
		if p.mac != nil { // else it is the parent's, and the kernel's to know
			add(netlink.Set(netlink.Settings{Index: p.inside, NoLinkLocal: true}).Or(noIPv6...))
		}
		add(netlink.Set(netlink.Settings{Index: p.inside, Up: true}))
		for _, a := range p.Addresses {
			add(newAddress(p.inside, a))
			if a.Addr().Is6() && p.mac != nil {
				add(newAddress(p.inside, network.LinkLocal(p.mac)))
			}
		}
		for _, r := range routes {
			if r.Endpoint.NetworkID == p.NetworkID {
				add(defaultRoute(p.Endpoint, p.inside, r.Gateway))
			}
		}
		for _, r := range p.Routes {
			add(newRoute(netlink.Route{To: r.To, Gateway: r.Gateway, Index: p.inside, Metric: r.Metric}))
		}
	}
	if err := w.inside.Ask(requests); err != nil {
		return err
	}
	if err := w.carriers(); err != nil {
		return err
	}
	for i := range w.places {
		if err := awaitLocal(w.inside, w.places[i].Addresses); err != nil {
			return err
		}
	}
	return nil
}

// newAddress gives an interface an address. It is nobody else's, which the
// engine knows: there is no need to ask the wire.
func newAddress(index int32, a netip.Prefix) netlink.Request {
	if a.Addr().Is4() {
		return netlink.NewAddress(index, netlink.Address{Prefix: a, Broadcast: broadcast(a)})
	}
	address := netlink.Address{Prefix: a, Flags: unix.IFA_F_NODAD}
	if a.Addr().IsLinkLocalUnicast() {
		address.Scope = unix.RT_SCOPE_LINK
	}
	return netlink.NewAddress(index, address).Or(noIPv6...)
}

// defaultRoute leads to everywhere by a gateway. In ipvlan's modes of layer 3
// the parent is the way to all.
func defaultRoute(e *network.Endpoint, index int32, gateway netip.Addr) netlink.Request {
	r := netlink.Route{To: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Gateway: gateway, Index: index, Metric: e.Metric}
	if gateway.Is4() {
		r.To = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	if e.Driver == network.Ipvlan && e.Mode != "" && e.Mode != "l2" {
		r.Gateway = netip.Addr{}
	}
	return newRoute(r)
}

// newRoute adds a route, of IPv6 if there is that.
func newRoute(r netlink.Route) netlink.Request {
	if r.To.Addr().Is6() { // without an address no gateway can be reached
		return netlink.NewRoute(r).Or(noIPv6...).Or(unix.EHOSTUNREACH)
	}
	return netlink.NewRoute(r)
}

// carriers has the kernel look now at what it would look at soon: whether new
// ports, and with them a new bridge, have carriers. Before that they lose packets.
// And the host knows the containers without asking, whoever had their addresses
// before.
func (w *work) carriers() error {
	var requests []netlink.Request
	for i := range w.places {
		p := &w.places[i]
		if p.outer == 0 {
			continue
		}
		requests = append(requests, netlink.FindLink(p.HostInterface), netlink.FindLink(p.Link))
		for _, a := range p.Addresses {
			r := netlink.Neighbour(p.over.Index, a.Addr(), p.mac)
			if a.Addr().Is6() {
				r = r.Or(noIPv6...).Or(unix.EINVAL) // switched off on the bridge
			}
			requests = append(requests, r)
		}
	}
	return w.host.Ask(requests)
}

// noIPv6 is how the kernel refuses IPv6 that is switched off: not built, not
// started, or by a setting of the container.
var noIPv6 = []unix.Errno{unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EACCES}

// mtu is that of the network, else the bridge's or parent's.
func (p *place) mtu() int {
	if p.MTU != 0 {
		return p.MTU
	}
	return int(p.over.MTU)
}

func parseMAC(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	mac, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("%q is no link-layer address", s)
	}
	return mac, nil
}

// broadcast is the last address of a range, which is nobody's if there are
// enough of them.
func broadcast(p netip.Prefix) netip.Addr {
	if p.Bits() > 30 {
		return netip.Addr{}
	}
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// missing says in words that the kernel lacks a kind of interface.
func missing(refusal error, module string, err error) error {
	if errors.Is(refusal, unix.EOPNOTSUPP) {
		return fmt.Errorf("the kernel has no %s: load the module %s (modprobe %s), or do with --network none", module, module, module)
	}
	return err
}
