package network

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// PortInUse says, by an error, why a port of the host can't be published: a
// process of the host has it, or there is no such address. It looks in the
// caller's network namespace.
func PortInUse(p Port) error {
	addresses := []netip.Addr{p.Host}
	if !p.Host.IsValid() {
		addresses = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, a := range addresses {
		switch err := tryBind(p, a); {
		case err == nil, errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ESOCKTNOSUPPORT):
			// Free, or of a protocol that the host can't have a socket of.
		case errors.Is(err, unix.EADDRINUSE):
			return &portInUse{p, a}
		case errors.Is(err, unix.EADDRNOTAVAIL) && !p.Host.IsValid():
			// The family is switched off.
		case errors.Is(err, unix.EADDRNOTAVAIL):
			return fmt.Errorf("publish port %s: %s is not an address of the host", p, a)
		case errors.Is(err, unix.EACCES):
			return fmt.Errorf("publish port %s: low ports are not for ordinary users (%w): choose a higher one, or lower net.ipv4.ip_unprivileged_port_start", p, err)
		default:
			return fmt.Errorf("publish port %s: %w", p, err)
		}
	}
	return nil
}

// tryBind takes a port as a server would, and lets it go again.
func tryBind(p Port, a netip.Addr) error {
	kind, protocol := unix.SOCK_STREAM, 0
	switch p.Protocol {
	case "udp":
		kind = unix.SOCK_DGRAM
	case "sctp":
		protocol = unix.IPPROTO_SCTP
	}
	family := unix.AF_INET6
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(p.HostPort), Addr: a.As16()}
	if a.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(p.HostPort), Addr: a.As4()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if kind == unix.SOCK_STREAM {
		// What is left of ended connections is in nobody's way. Another server
		// that set this too is noticed by listening. UDP would share the port.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, to); err != nil || kind == unix.SOCK_DGRAM {
		return err
	}
	return unix.Listen(fd, 1)
}

// portInUse is a port that somebody on the host has. Who it is is looked for
// only when it is told: many ports may be tried before one is free.
type portInUse struct {
	port    Port
	address netip.Addr
}

func (e *portInUse) Error() string {
	return fmt.Sprintf("%v: %s by %s", errPortTaken, e.port, socketHolder(e.port, e.address))
}

func (e *portInUse) Unwrap() error { return errPortTaken }
