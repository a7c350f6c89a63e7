package link

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// networks finds the bridges and parents of all places, and makes those that
// are not there.
func (w *work) networks() error {
	var requests []netlink.Request
	for _, p := range w.places {
		requests = append(requests, netlink.FindLink(p.Link).Or(unix.ENODEV))
	}
	forwarding := w.forwards()
	requests = append(requests, forwarding...)
	if err := w.host.Ask(requests); err != nil {
		return err
	}
	for i := range w.places {
		p := &w.places[i]
		var err error
		if p.over, err = requests[i].Link(); err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
		if p.Driver == network.Bridge {
			err = w.useBridge(p)
		} else {
			err = w.useParent(p)
		}
		if err != nil {
			return fmt.Errorf("network %s: %w", p.Network, err)
		}
	}
	return w.forward(requests[len(w.places):])
}

// mark is the alias of the interfaces of a network.
func mark(e *network.Endpoint) string { return "loper " + e.NetworkID }

// Behind the mark, what a bridge's alias has when everything else is done.
const (
	sealed   = " sealed"
	unsealed = " unsealed" // the kernel cannot: only Repair tries again
)

func isDone(e *network.Endpoint, l netlink.Link) bool {
	return l.Alias == mark(e)+sealed || l.Alias == mark(e)+unsealed
}

// useBridge makes sure that the bridge is there and ready. Any number of
// processes may do it at a time.
func (w *work) useBridge(p *place) error {
	switch l := p.over; {
	case l.Index == 0:
		if p.Mode == Unmanaged {
			return fmt.Errorf("there is no bridge %s, and the network does not manage it: make it, or create the network without mode=%s", p.Link, Unmanaged)
		}
		return w.makeBridge(p)
	case l.Kind != "bridge":
		return fmt.Errorf("the interface %s is no bridge: remove the network, and create it with another", p.Link)
	case p.Mode == Unmanaged:
		return nil
	case isDone(p.Endpoint, l) && l.Up:
		return nil
	case isDone(p.Endpoint, l), bytes.Equal(l.Address, bridgeMAC(p.Endpoint)): // half made, or set down
		return w.settleBridge(p)
	default:
		return fmt.Errorf("the bridge %s belongs to somebody else: remove the network, and create it with another or with mode=%s", p.Link, Unmanaged)
	}
}

// Unmanaged is the mode of a network on a bridge that somebody else made.
const Unmanaged = "unmanaged"

// makeBridge makes the network's bridge, and puts containers on it whose bridge
// was deleted under them.
func (w *work) makeBridge(p *place) error {
	mtu := p.MTU
	if mtu == 0 {
		var err error
		if mtu, err = uplinkMTU(w.host); err != nil {
			return err
		}
	}
	s := netlink.Settings{Name: p.Link, Address: bridgeMAC(p.Endpoint), MTU: mtu}
	make := netlink.Bridge(s, netlink.BridgeOptions{VLAN: uint16(p.VLAN)}).Or(unix.EEXIST)
	requests := []netlink.Request{make, netlink.FindLink(p.Link)}
	err := w.host.Ask(requests)
	if errors.Is(requests[0].Err, unix.EOPNOTSUPP) && p.VLAN != 0 {
		return fmt.Errorf("the kernel has no bridges with VLANs: load the module bridge (modprobe bridge); it must be built with CONFIG_BRIDGE_VLAN_FILTERING")
	}
	if err != nil {
		return missing(requests[0].Err, "bridge", err)
	}
	if p.over, err = requests[1].Link(); err != nil {
		return err
	}
	if requests[0].Err != nil { // somebody else was faster
		return w.useBridge(p)
	}
	return w.settleBridge(p)
}

// settleBridge does what makes a bridge out of a new interface. All of it may
// have been done.
func (w *work) settleBridge(p *place) error {
	if err := setting("ipv6/conf/"+p.Link+"/accept_ra", "0"); err != nil {
		return err
	}
	index := p.over.Index
	how, err := w.seal(p)
	if err != nil {
		return err
	}
	requests := []netlink.Request{netlink.Set(netlink.Settings{Index: index, NoLinkLocal: true}).Or(noIPv6...)}
	for _, a := range p.gateways() {
		requests = append(requests, newAddress(index, a).Or(unix.EEXIST))
	}
	own := netlink.Address{Prefix: network.LinkLocal(p.over.Address), Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK}
	requests = append(requests,
		netlink.NewAddress(index, own).Or(unix.EEXIST).Or(noIPv6...),
		netlink.Set(netlink.Settings{Index: index, Up: true}))
	if err := w.host.Ask(requests); err != nil {
		return err
	}
	if err := adopt(w.host, p); err != nil {
		return err
	}
	if err := awaitLocal(w.host, p.gateways()); err != nil {
		return err
	}
	return w.host.Ask([]netlink.Request{netlink.Set(netlink.Settings{Index: index, Alias: mark(p.Endpoint) + how})})
}

// adopt makes ports of the host's ends that have no bridge.
func adopt(host *netlink.Conn, p *place) error {
	links, err := host.Links()
	if err != nil {
		return fmt.Errorf("list the interfaces: %w", err)
	}
	var requests []netlink.Request
	for _, l := range links {
		if l.Kind == "veth" && l.Master == 0 && l.Alias == mark(p.Endpoint) {
			requests = append(requests, netlink.Set(netlink.Settings{Index: l.Index, Master: p.over.Index}).Or(unix.ENODEV))
		}
	}
	return host.Ask(requests)
}

// gateways are the bridge's own addresses.
func (p *place) gateways() []netip.Prefix {
	var list []netip.Prefix
	for _, g := range p.Gateways {
		for _, a := range p.Addresses {
			if a.Contains(g) {
				list = append(list, netip.PrefixFrom(g, a.Bits()))
			}
		}
	}
	return list
}

// bridgeMAC is always the same for a network, so that its containers find a
// bridge that was made again.
func bridgeMAC(e *network.Endpoint) []byte {
	id, err := hex.DecodeString(e.NetworkID[:min(10, len(e.NetworkID))])
	if err != nil || len(id) != 5 {
		return nil
	}
	return append([]byte{2}, id...)
}

// uplinkMTU is how long packets may be that leave the host by its default
// route; 0: it has none.
func uplinkMTU(host *netlink.Conn) (int, error) {
	routes, err := host.Routes()
	if err != nil {
		return 0, fmt.Errorf("list the host's routes: %w", err)
	}
	for _, r := range routes {
		if r.To.Bits() == 0 && r.Type == unix.RTN_UNICAST && r.Table == unix.RT_TABLE_MAIN && r.Index != 0 {
			l, err := host.LinkAt(r.Index)
			return int(l.MTU), err
		}
	}
	return 0, nil
}

// setting writes a file of /proc/sys/net of the host's side. One that the
// kernel does not have needs not be written.
func setting(name, value string) error {
	fds, err := netns.Open(network.HostNamespace, netns.Want{Setting: name})
	if err != nil || fds[0] < 0 {
		return err
	}
	defer unix.Close(fds[0])
	if _, err := unix.Write(fds[0], []byte(value)); err != nil {
		return fmt.Errorf("write %s to /proc/sys/net/%s: %w", value, name, err)
	}
	return nil
}
