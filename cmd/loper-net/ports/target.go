package ports

import (
	"errors"
	"net/netip"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/sock"
	"loper.run/internal/netcontrol"

	"golang.org/x/sys/unix"
)

// reach returns a socket in the namespace that is connected to the container, for a client.
func (e *entry) reach(kind inside.Kind, client netip.AddrPort) (*sock.Socket, error) {
	to := target(*e.targets.Load(), client.Addr())
	if transparent(to, client.Addr()) {
		s, err := e.connect(kind, client, to.Address)
		// The client may talk to the same container through another port of the host, from the same port of its own.
		if !errors.Is(err, unix.EADDRINUSE) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return s, err
		}
	}
	return e.connect(kind, netip.AddrPortFrom(to.Gateway, 0), to.Address)
}

// target is the target of the client's family, or the other one.
func target(list []netcontrol.Target, client netip.Addr) netcontrol.Target {
	for _, t := range list {
		if t.Address.Addr().Is4() == client.Is4() {
			return t
		}
	}
	return list[0]
}

// transparent tells whether the container may see the client's own address: not if it would look for it on its own wire,
// or within itself.
func transparent(t netcontrol.Target, client netip.Addr) bool {
	return t.Address.Addr().Is4() == client.Is4() && !client.IsLoopback() && !client.IsUnspecified() && !client.IsLinkLocalUnicast() &&
		!t.Subnet.Contains(client)
}

// connect connects to a container from an address, if that is one.
func (e *entry) connect(kind inside.Kind, from, to netip.AddrPort) (*sock.Socket, error) {
	if to.Addr().Is6() {
		kind |= inside.V6
	}
	fd, err := e.table.Socket(kind)
	if err != nil {
		e.table.logf("%v", err)
		return nil, err
	}
	s, err := sock.New(fd)
	if err != nil {
		return nil, err
	}
	if from.Addr().IsValid() {
		err = s.Now(func(fd int) error {
			// Clients come back with the same port; so does one that talks to two containers.
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return err
			}
			return unix.Bind(fd, sock.Address(from))
		})
	}
	if err == nil {
		err = s.Connect(to)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
