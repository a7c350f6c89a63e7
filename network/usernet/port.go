package usernet

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"loper.run/internal/netcontrol"
	"loper.run/network"
)

// firstPortFile has the first port that an ordinary user may listen on.
const firstPortFile = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

// CheckPorts refuses ports of the host that an ordinary user can't publish.
func CheckPorts(ports []network.Port) error {
	first := 1024
	if text, err := os.ReadFile(firstPortFile); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			first = n
		}
	}
	for _, p := range ports {
		switch {
		case p.Protocol == "sctp":
			return fmt.Errorf("port %d/sctp can't be published by an ordinary user: only tcp and udp can", p.HostPort)
		case p.HostPort != 0 && int(p.HostPort) < first:
			return fmt.Errorf("port %d is below %d, where ports of ordinary users begin: choose a higher one, or let root set sysctl net.ipv4.ip_unprivileged_port_start=%d", p.HostPort, first, p.HostPort)
		}
	}
	return nil
}

// Publish lets the carrier listen to a container's ports for it.
func Publish(c *netcontrol.Client, s *network.Sandbox) error {
	targets := targets(s)
	ports := make([]netcontrol.Port, 0, len(s.Ports))
	for _, p := range s.Ports {
		to := make([]netcontrol.Target, len(targets))
		for i, t := range targets {
			t.Address = netip.AddrPortFrom(t.Address.Addr(), p.ContainerPort)
			to[i] = t
		}
		ports = append(ports, netcontrol.Port{Protocol: p.Protocol, Host: p.Host, Port: p.HostPort, Targets: to})
	}
	_, err := c.Publish(ports...)
	return err
}

// targets are the container's addresses that ports lead to, of each family the
// first that has a way out.
func targets(s *network.Sandbox) (list []netcontrol.Target) {
	var has4, has6 bool
	for _, e := range s.Endpoints {
		if e.Internal || e.Driver != network.Bridge {
			continue
		}
		for _, a := range e.Addresses {
			if a.Addr().Is4() && has4 || a.Addr().Is6() && has6 {
				continue
			}
			has4, has6 = has4 || a.Addr().Is4(), has6 || a.Addr().Is6()
			t := netcontrol.Target{Address: netip.AddrPortFrom(a.Addr(), 0), Subnet: a.Masked()}
			for _, g := range e.Gateways {
				if g.Is4() == a.Addr().Is4() {
					t.Gateway = g
				}
			}
			list = append(list, t)
		}
	}
	return list
}

// NeedsOf is what a container needs of the user's networks.
func NeedsOf(s *network.Sandbox) Needs {
	n := Needs{Ports: len(s.Ports) > 0}
	for _, e := range s.Endpoints {
		n.Out = n.Out || !e.Internal
	}
	return n
}
