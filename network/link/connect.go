// Package link tells the kernel about containers' interfaces: bridges, cables,
// addresses and routes, with as few words as there can be.
package link

import (
	"errors"
	"os"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// Connect gives a container that is being started its interfaces, in its
// network namespace. Rules is called when they are there, and is told which module
// the kernel lacks to seal a bridge that was made, "": none. After an error there
// is nothing of the interfaces.
//
// All of it is done by one thread: it takes no longer than the container's mounts,
// beside which it is done, and more threads would only be in their way.
func Connect(s *network.Sandbox, ns *os.File, rules func(lacks string) error) error {
	return connect(s, s.Endpoints, ns, rules)
}

// ConnectOne gives a running container one more interface.
func ConnectOne(s *network.Sandbox, e *network.Endpoint, ns *os.File, rules func(lacks string) error) error {
	return connect(s, []network.Endpoint{*e}, ns, rules)
}

func connect(s *network.Sandbox, list []network.Endpoint, ns *os.File, rules func(lacks string) error) (err error) {
	if len(list) == 0 {
		return rules("")
	}
	w, err := begin(s, list, ns)
	defer w.end()
	if err != nil {
		return err
	}
	if err := w.networks(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.undo())
		}
	}()
	if err := w.interfaces(); err != nil {
		return err
	}
	if err := w.addresses(); err != nil {
		return err
	}
	if err := w.rates(); err != nil {
		return err
	}
	return rules(w.lacks)
}

// work is one call of Connect or Disconnect.
type work struct {
	sandbox *network.Sandbox
	places  []place
	ns      *os.File      // the container's
	host    *netlink.Conn // speaks about the host
	inside  *netlink.Conn // about the container
	lacks   string        // the module for want of which a bridge is not sealed
}

// place is an endpoint, and what is found out about it.
type place struct {
	*network.Endpoint
	mac    []byte
	over   netlink.Link // the bridge, or the parent
	inside int32        // index of the interface in the container
	outer  int32        // of the host's end
}

// begin opens both sides. It is ended after an error too.
func begin(s *network.Sandbox, list []network.Endpoint, ns *os.File) (w *work, err error) {
	w = &work{sandbox: s, ns: ns, places: make([]place, len(list))}
	for i := range list {
		p := &w.places[i]
		p.Endpoint = &list[i]
		if p.mac, err = parseMAC(p.MAC); err != nil {
			return w, err
		}
	}
	if w.host, err = openHost(); err != nil {
		return w, err
	}
	w.inside, err = enter(ns) // before there is an interface for its settings
	return w, err
}

func (w *work) end() {
	for _, c := range []*netlink.Conn{w.host, w.inside} {
		if c != nil {
			c.Close()
		}
	}
}

// openHost begins a conversation about the host's side.
func openHost() (*netlink.Conn, error) {
	return netlink.OpenIn(network.HostNamespace)
}

// enter begins a conversation about a container's network namespace. Interfaces
// that come into it believe no router advertisements: only the engine says
// where the way out is (CVE-2020-13401).
func enter(ns *os.File) (*netlink.Conn, error) {
	fds, err := netns.Open(ns, netns.Netlink(unix.NETLINK_ROUTE), netns.Want{Setting: "ipv6/conf/default/accept_ra"})
	if err != nil {
		return nil, err
	}
	if fds[1] >= 0 {
		_, err = unix.Write(fds[1], []byte("0"))
		unix.Close(fds[1])
	}
	if err != nil {
		unix.Close(fds[0])
		return nil, os.NewSyscallError("turn router advertisements off in the container", err)
	}
	return netlink.New(fds[0])
}
