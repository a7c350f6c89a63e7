package link

import (
	"errors"
	"os"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/network"

	"golang.org/x/sys/unix"
)

// forwards asks whether the host forwards, if a container needs it.
func (w *work) forwards() []netlink.Request {
	for i := range w.places {
		p := &w.places[i]
		if p.Driver == network.Bridge && !p.Internal && len(p.Gateways) > 0 {
			return []netlink.Request{netlink.Forwarding(unix.AF_INET), netlink.Forwarding(unix.AF_INET6).Or(noIPv6...)}
		}
	}
	return nil
}

// forward has the host forward, if it was asked and does not. It is never
// switched off again: who else came to rely on it is not known.
func (w *work) forward(asked []netlink.Request) error {
	if len(asked) == 0 {
		return nil
	}
	if !asked[0].Forwards() {
		if err := setting("ipv4/ip_forward", "1"); err != nil {
			return err
		}
	}
	if asked[1].Err != nil || asked[1].Forwards() || !w.hasIPv6() {
		return nil
	}
	return w.forward6()
}

func (w *work) hasIPv6() bool {
	for _, p := range w.places {
		for _, a := range p.Addresses {
			if a.Addr().Is6() {
				return true
			}
		}
	}
	return false
}

// forward6 has the host forward IPv6. A host that is a router no longer listens
// to router advertisements, from which it may have its own way out: so it is
// made one without that where the kernel can (6.17), and otherwise its
// interfaces are told to go on listening.
func (w *work) forward6() error {
	const forced = "ipv6/conf/all/force_forwarding"
	fds, err := netns.Open(network.HostNamespace, netns.Want{Setting: forced})
	if err != nil {
		return err
	}
	if fds[0] < 0 {
		if err := w.keepListening(); err != nil {
			return err
		}
		return setting("ipv6/conf/all/forwarding", "1")
	}
	defer unix.Close(fds[0])
	now := make([]byte, 8)
	n, err := unix.Read(fds[0], now)
	if err != nil {
		return os.NewSyscallError("read /proc/sys/net/"+forced, err)
	}
	if strings.TrimSpace(string(now[:n])) != "0" {
		return nil
	}
	if _, err := unix.Pwrite(fds[0], []byte("1"), 0); err != nil {
		return os.NewSyscallError("write /proc/sys/net/"+forced, err)
	}
	return setting("ipv6/conf/default/force_forwarding", "1")
}

// keepListening keeps the interfaces that have routes from router
// advertisements.
func (w *work) keepListening() error {
	routes, err := w.host.Routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_RA {
			continue
		}
		l, err := w.host.LinkAt(r.Index)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return err
		}
		if err := setting("ipv6/conf/"+l.Name+"/accept_ra", "2"); err != nil {
			return err
		}
	}
	return nil
}
