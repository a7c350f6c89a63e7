package link

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// Modes of macvlan, MACVLAN_MODE_… of linux/if_link.h.
var macvlanModes = map[string]uint32{"": 4, "bridge": 4, "private": 1, "vepa": 2, "passthru": 8}

// Modes of ipvlan, IPVLAN_MODE_….
var ipvlanModes = map[string]uint16{"": 0, "l2": 0, "l3": 1, "l3s": 2}

// useParent makes sure that the parent is there: as eth0.10, a VLAN of eth0, it
// is made, and for an internal network a wire that leads nowhere.
func (w *work) useParent(p *place) error {
	if p.over.Index != 0 {
		return nil
	}
	var r netlink.Request
	kind := "vlan"
	above, id, ok := vlanOf(p.Link)
	switch {
	case ok:
		l, err := w.host.Link(above)
		if err != nil {
			return fmt.Errorf("find %s, the parent of %s: %w", above, p.Link, err)
		}
		r = netlink.VLAN(netlink.Settings{Name: p.Link, Parent: l.Index}, id)
		kind = "8021q"
	case p.Internal:
		r = netlink.Simple(netlink.Settings{Name: p.Link}, "dummy")
		kind = "dummy"
	default:
		return fmt.Errorf("there is no interface %s on this host: ip link shows which there are", p.Link)
	}
	requests := []netlink.Request{
		r.Or(unix.EEXIST),
		netlink.Set(netlink.Settings{Name: p.Link, NoLinkLocal: true}).Or(noIPv6...),
		netlink.Set(netlink.Settings{Name: p.Link, Alias: parentMark, Up: true}),
		netlink.FindLink(p.Link),
	}
	if err := w.host.Ask(requests); err != nil {
		return missing(requests[0].Err, kind, err)
	}
	var err error
	p.over, err = requests[len(requests)-1].Link()
	return err
}

// parentMark is the alias of a parent that was made here. Several networks may
// have it.
const parentMark = "loper parent"

// vlanOf takes the name of a VLAN's interface apart, as eth0.10.
func vlanOf(name string) (parent string, id uint16, ok bool) {
	at := strings.LastIndexByte(name, '.')
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[at+1:], 10, 12)
	return name[:at], uint16(n), err == nil && n > 0 && n < 4095
}

// sub makes an interface upon the parent.
func (w *work) sub(p *place, inner netlink.Settings) error {
	inner.Parent = p.over.Index
	var r netlink.Request
	if p.Driver == network.Macvlan {
		mode, ok := macvlanModes[p.Mode]
		if !ok {
			return fmt.Errorf("macvlan has no mode %s: bridge, private, vepa or passthru", p.Mode)
		}
		if p.Mode == "passthru" { // has its parent's
			inner.Address, p.mac = nil, nil
		}
		r = netlink.Macvlan(inner, mode)
	} else {
		mode, ok := ipvlanModes[p.Mode]
		if !ok {
			return fmt.Errorf("ipvlan has no mode %s: l2, l3 or l3s", p.Mode)
		}
		inner.Address, p.mac = nil, nil // has its parent's
		r = netlink.Ipvlan(inner, mode)
	}
	err := w.host.Ask([]netlink.Request{r})
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("the container has an interface %s already", p.Interface)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EINVAL) && p.Driver == network.Macvlan:
		return fmt.Errorf("%w: the parent %s may be in use by another driver, by a bridge, or in mode passthru", err, p.Link)
	case err != nil:
		return missing(err, p.Driver, err)
	}
	l, err := w.inside.Link(p.Interface)
	p.inside = l.Index
	return err
}
