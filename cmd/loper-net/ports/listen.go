package ports

import (
	"errors"
	"fmt"
	"net/netip"

	"loper.run/cmd/loper-net/sock"
	"loper.run/internal/netcontrol"

	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait to be accepted; the host may allow less.
const backlog = 4096

// listen makes an entry with its sockets on the host. Any free port is one that is free in both families.
func (t *Table) listen(owner Owner, p netcontrol.Port) (*entry, error) {
	hosts := []netip.Addr{p.Host}
	if !p.Host.IsValid() {
		hosts = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	const tries = 16
	for try := 1; ; try++ {
		e := &entry{table: t, owner: owner, port: p}
		err := e.bind(hosts)
		if err == nil {
			return e, nil
		}
		for _, s := range e.listeners {
			s.Close()
		}
		if p.Port != 0 || try == tries || !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("publish %s: %w", describe(p), err)
		}
	}
}

func (e *entry) bind(hosts []netip.Addr) error {
	for _, host := range hosts {
		s, port, err := open(e.port.Protocol, netip.AddrPortFrom(host, e.port.Port))
		if host.Is6() && len(e.listeners) > 0 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			continue // a host without IPv6
		}
		if err != nil {
			return err
		}
		e.listeners = append(e.listeners, s)
		e.port.Port = port
	}
	return nil
}

// open makes a socket that listens on the host, and returns its port.
func open(protocol string, at netip.AddrPort) (_ *sock.Socket, port uint16, err error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	if at.Addr().Is6() {
		domain = unix.AF_INET6
	}
	if protocol == "udp" {
		kind = unix.SOCK_DGRAM
	}
	s, err := sock.Open(domain, kind, 0)
	if err != nil {
		return nil, 0, err
	}
	err = s.Now(func(fd int) error {
		type option struct{ level, name int }
		var options []option
		if kind == unix.SOCK_STREAM {
			options = append(options, option{unix.SOL_SOCKET, unix.SO_REUSEADDR})
		}
		switch {
		case domain == unix.AF_INET6:
			options = append(options, option{unix.SOL_IPV6, unix.IPV6_V6ONLY})
			if kind == unix.SOCK_DGRAM {
				options = append(options, option{unix.SOL_IPV6, unix.IPV6_RECVPKTINFO})
			}
		case kind == unix.SOCK_DGRAM:
			options = append(options, option{unix.SOL_IP, unix.IP_PKTINFO})
		}
		for _, o := range options {
			if err := unix.SetsockoptInt(fd, o.level, o.name, 1); err != nil {
				return err
			}
		}
		if err := unix.Bind(fd, sock.Address(at)); err != nil {
			return err
		}
		if kind == unix.SOCK_STREAM {
			if err := unix.Listen(fd, backlog); err != nil {
				return err
			}
		}
		name, err := unix.Getsockname(fd)
		port = sock.AddrPort(name).Port()
		return err
	})
	if err != nil {
		s.Close()
		return nil, 0, err
	}
	return s, port, nil
}

// start serves what was published.
func (e *entry) start() {
	for _, s := range e.listeners {
		if e.port.Protocol == "udp" {
			u := &datagrams{entry: e, listener: s, flows: map[client]*flow{}}
			go u.serve()
		} else {
			go e.serve(s)
		}
	}
}
