package link

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// Disconnect ends the connections of a container that has ended. Its interfaces
// carry nothing from now on, and are gone as soon as its network namespace is:
// the kernel needs 20 ms to delete one, for which nobody has to wait. What is
// gone already is no error.
func Disconnect(s *network.Sandbox) error {
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	var requests []netlink.Request
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.Driver != network.Bridge {
			continue
		}
		requests = append(requests, netlink.Set(netlink.Settings{Name: e.HostInterface, Down: true}).Or(unix.ENODEV))
		if s.RateOut != 0 {
			requests = append(requests, netlink.Delete(detour(e)).Or(unix.ENODEV))
		}
	}
	return host.Ask(requests)
}

// DisconnectOne takes one interface away from a running container. If the way
// out was by it, it is by the next network that has one.
func DisconnectOne(s *network.Sandbox, e *network.Endpoint, ns *os.File) error {
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	w := work{sandbox: s, host: host, places: []place{{Endpoint: e}}}
	if err := w.remove(); err != nil {
		return err
	}
	inside, err := netlink.OpenIn(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	// Of macvlan and ipvlan the host has nothing.
	if err := inside.Ask([]netlink.Request{netlink.Delete(e.Interface).Or(unix.ENODEV)}); err != nil {
		return err
	}
	rest := *s
	rest.Endpoints = nil
	for _, other := range s.Endpoints {
		if other.NetworkID != e.NetworkID {
			rest.Endpoints = append(rest.Endpoints, other)
		}
	}
	var requests []netlink.Request
	for _, r := range rest.DefaultRoutes() {
		l, err := inside.Link(r.Endpoint.Interface)
		if errors.Is(err, unix.ENODEV) {
			continue // somebody was killed while he disconnected it
		}
		if err != nil {
			return fmt.Errorf("find the container's interface %s: %w", r.Endpoint.Interface, err)
		}
		requests = append(requests, defaultRoute(r.Endpoint, l.Index, r.Gateway))
	}
	return inside.Ask(requests)
}

// undo deletes what a call of Connect that failed has made.
func (w *work) undo() error {
	var requests []netlink.Request
	for _, p := range w.places {
		if p.inside != 0 && p.outer == 0 { // of macvlan and ipvlan the host has nothing
			requests = append(requests, netlink.Delete(p.Interface).Or(unix.ENODEV))
		}
	}
	return errors.Join(w.remove(), w.inside.Ask(requests))
}

// remove deletes the interfaces that the host can see.
func (w *work) remove() error {
	var requests []netlink.Request
	for _, p := range w.places {
		if p.Driver != network.Bridge {
			continue
		}
		requests = append(requests, netlink.Delete(p.HostInterface).Or(unix.ENODEV))
		if w.sandbox.RateOut != 0 {
			requests = append(requests, netlink.Delete(detour(p.Endpoint)).Or(unix.ENODEV))
		}
	}
	return w.host.Ask(requests)
}

// TearDown takes away what the host has of a network: the bridge, or the parent
// that was made for it.
func TearDown(n *network.Network) error {
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	l, err := host.Link(n.Interface)
	if errors.Is(err, unix.ENODEV) || err == nil && !ours(n, l) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the interface %s: %w", n.Interface, err)
	}
	return host.Ask([]netlink.Request{netlink.Delete(n.Interface).Or(unix.ENODEV)})
}

// ours reports whether an interface was made for a network. A bridge that was
// never finished is known by its address.
func ours(n *network.Network, l netlink.Link) bool {
	if n.Driver != network.Bridge {
		return l.Alias == parentMark
	}
	e := network.Endpoint{NetworkID: n.ID}
	return strings.HasPrefix(l.Alias, mark(&e)) || l.Alias == "" && l.Kind == "bridge" && bytes.Equal(l.Address, bridgeMAC(&e))
}

// Repair makes the bridges of a running container again that are gone, seals
// those that are not sealed, and puts its interfaces on them.
func Repair(s *network.Sandbox) error {
	host, err := openHost()
	if err != nil {
		return err
	}
	defer host.Close()
	w := work{sandbox: s, host: host}
	for i := range s.Endpoints {
		w.places = append(w.places, place{Endpoint: &s.Endpoints[i]})
	}
	if err := w.networks(); err != nil {
		return err
	}
	for i := range w.places {
		if p := &w.places[i]; p.Driver == network.Bridge {
			if err := w.sealAgain(p); err != nil {
				return err
			}
			if err := adopt(host, p); err != nil {
				return err
			}
		}
	}
	return nil
}
