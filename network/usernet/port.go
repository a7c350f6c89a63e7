package usernet

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
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

// Publish lets the carrier listen to a container's ports for it, or take them
// back when there is no way in. It may be called again when that has changed.
func Publish(c *netcontrol.Client, s *network.Sandbox) error {
	targets := targets(s)
	ports := make([]netcontrol.Port, 0, len(s.Ports))
	for _, p := range s.Ports {
		to := slices.Clone(targets)
		for i := range to {
			to[i].Address = netip.AddrPortFrom(to[i].Address.Addr(), p.ContainerPort)
		}
		ports = append(ports, netcontrol.Port{Protocol: p.Protocol, Host: p.Host, Port: p.HostPort, Targets: to})
	}
	if len(targets) == 0 {
		return c.Withdraw(ports...)
	}
	_, err := c.Publish(ports...)
	return err
}

// targets are the container's addresses that ports lead to.
func targets(s *network.Sandbox) (list []netcontrol.Target) {
	for _, t := range s.Targets() {
		list = append(list, netcontrol.Target{Address: netip.AddrPortFrom(t.Address.Addr(), 0), Subnet: t.Address.Masked(), Gateway: t.Gateway})
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
