// Package firewall is what the host's side of containers' networks has of rules:
// a table for IPv4 and one for IPv6, with the same contents. The rules are made
// once; networks and published ports are elements of sets that they look into,
// so that a thousand ports cost a packet no more than one.
//
// The tables are the engine's own and change nobody else's. Who flushes them
// closes all published ports; a monitor's Heal puts them back, or the next Ensure,
// Attach or Repair.
package firewall

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/internal/nft"
	"loper.run/network"
)

// Firewall is that of a store's networks, in the namespace of their bridges.
type Firewall struct {
	Store *network.Store
	Host  *os.File // nil: the caller's own namespace
	// Alone tells that nobody else has rules in that namespace, so that published
	// ports need not ask them.
	Alone bool
}

// Of is the firewall of a store, where the bridges of its networks are.
func Of(s *network.Store) *Firewall {
	return &Firewall{Store: s, Host: network.HostNamespace, Alone: network.HostNamespace != nil}
}

// TableName is how the tables of a store are called. Each store on a host has
// its own.
func TableName(root string) string {
	if root == network.SystemRoot {
		return "loper"
	}
	h := fnv.New32a()
	h.Write([]byte(root))
	return fmt.Sprintf("loper-%08x", h.Sum32())
}

// session is what one call has open: the lock under which the tables change,
// and a socket in the host's namespace.
type session struct {
	*Firewall
	conn   *nft.Conn
	lock   *os.File
	halves []half
	guard  guard
}

func (f *Firewall) begin() (*session, error) { return f.beginWith(flock.Exclusive) }

// beginWith is begin with a way to lock a file.
func (f *Firewall) beginWith(exclusive func(path string) (*os.File, error)) (*session, error) {
	dir := f.Store.Dir("")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := exclusive(filepath.Join(dir, "firewall.lock"))
	if err != nil {
		return nil, err
	}
	s := &session{Firewall: f, lock: lock}
	fds, err := netns.Open(f.Host, netns.Netlink(unix.NETLINK_NETFILTER),
		netns.Want{Setting: "ipv6/conf/all/forwarding"}, netns.Want{Setting: "bridge/bridge-nf-call-ip6tables"})
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("firewall: %w", err)
	}
	name := TableName(f.Store.Root)
	s.guard = guardOf(name)
	s.halves = []half{half4(name)}
	if fds[1] >= 0 { // a kernel without IPv6 needs no rules for it
		s.halves = append(s.halves, half6(name, isOn(fds[2])))
	}
	for _, fd := range fds[1:] {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if s.conn, err = nft.New(fds[0]); err != nil {
		lock.Close()
		return nil, err
	}
	return s, nil
}

// isOn reads a setting that may not be there.
func isOn(fd int) bool {
	value := make([]byte, 4)
	n, err := unix.Read(fd, value)
	return fd >= 0 && err == nil && n > 0 && value[0] != '0'
}

// end lets the others go on.
func (s *session) end() {
	s.lock.Close()
	s.conn.Close()
}

// Attach lets a container's networks and published ports work. Its interfaces
// are there. It may be called again at any time.
func (f *Firewall) Attach(sb *network.Sandbox) error {
	places := bridged(sb)
	if len(places) == 0 {
		return nil
	}
	s, err := f.begin()
	if err != nil {
		return err
	}
	defer s.end()
	if f.Alone {
		sb = opened(sb)
	}
	if err := s.attach(sb); err != nil {
		return err
	}
	if len(sb.Ports) == 0 {
		return nil
	}
	if asks(sb) {
		if err := s.gated(); err != nil {
			return err
		}
	}
	if err := s.published(places); err != nil {
		return err
	}
	return s.forget(sb)
}

func (s *session) attach(sb *network.Sandbox) error {
	var b nft.Batch
	s.guard.add(&b, sb)
	for _, h := range s.halves {
		b.FlushChain(h.made()) // it is empty, and there as long as the table is as we make it
		h.addNetworks(&b, sb)
		h.addPorts(&b, sb)
	}
	err := s.conn.Commit(&b)
	switch {
	case errors.Is(err, unix.ENOENT):
		return s.rebuild(sb)
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		// Something of a container or network that is gone, whose end nobody
		// saw, is in the way.
		return s.rebuild(sb)
	}
	return err
}

// Detach closes a container's published ports, and takes back what its interfaces
// were let say. It may be called again, also when the ports are another
// container's already. The networks' elements stay as long as the networks.
func (f *Firewall) Detach(sb *network.Sandbox) error {
	return f.Leave(sb, func() error { return nil })
}

// Leave is Detach for a container that has ended. It calls forget, by which the
// container becomes none of those that run, before anybody else can put their
// rules back.
func (f *Firewall) Leave(sb *network.Sandbox, forget func() error) error {
	if len(bridged(sb)) == 0 {
		return forget()
	}
	s, err := f.begin()
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.detach(sb); err != nil {
		return err
	}
	return forget()
}

func (s *session) detach(sb *network.Sandbox) error {
	if s.Alone {
		sb = opened(sb)
	}
	var ports nft.Batch
	for _, h := range s.halves {
		if err := h.deletePorts(s.conn, &ports, sb); err != nil {
			return err
		}
	}
	all := ports
	s.guard.remove(&all, sb)
	err := s.conn.Commit(&all)
	if errors.Is(err, unix.ENOENT) { // one of the tables is gone
		err = s.conn.Commit(&ports)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return s.forget(sb)
}

// bridged are the places of a container that the host stands between.
func bridged(sb *network.Sandbox) []*network.Endpoint {
	var list []*network.Endpoint
	for i := range sb.Endpoints {
		if e := &sb.Endpoints[i]; e.Driver == network.Bridge {
			list = append(list, e)
		}
	}
	return list
}

// published prepares the ways back to published ports. Packets from 127.0.0.1 may
// leave through a bridge, where they get the bridge's address; a rule drops those
// that come in with such addresses. For ::1, which the kernel never takes from a
// wire, it is a route. And a bridge may send a container what it came with, which
// it is asked for where bridges show the packet filter what crosses them.
func (s *session) published(places []*network.Endpoint) error {
	c, err := netlink.OpenIn(s.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	var requests []netlink.Request
	for _, e := range places {
		bridge, err := c.Link(e.Link)
		if err != nil {
			return fmt.Errorf("the bridge %s: %w", e.Link, err)
		}
		loopback := netlink.Route{
			To: half6("", false).loopback, Index: bridge.Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL,
			Metric: 1024 + uint32(bridge.Index), // routes of several bridges are told apart by it
		}
		requests = append(requests,
			netlink.Set(netlink.Settings{Name: e.Link, IPv4: map[uint16]uint32{netlink.IPv4RouteLocalnet: 1}}),
			netlink.NewRoute(loopback).Or(unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EACCES))
		if e.HostInterface != "" {
			requests = append(requests, netlink.Hairpin(e.HostInterface).Or(unix.ENODEV))
		}
	}
	return c.Ask(requests)
}
