package container

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"loper.run/network"
)

// InspectNetwork is what the container has of networks, while it runs.
type InspectNetwork struct {
	Bridge              string // docker's daemon's, which is not here
	SandboxID           string // the container's own id while it has one
	SandboxKey          string
	Ports               PortMap
	EndpointID          string
	Gateway             string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	MacAddress          string
	Networks            map[string]InspectEndpoint
}

// InspectEndpoint is a container's place in a network.
type InspectEndpoint struct {
	IPAMConfig          *InspectIPAM
	Links               []string
	Aliases             []string
	MacAddress          string
	DriverOpts          map[string]string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	GwPriority          int
	DNSNames            []string
}

// InspectIPAM is the addresses that were asked for.
type InspectIPAM struct {
	IPv4Address string `json:",omitempty"`
	IPv6Address string `json:",omitempty"`
}

// PortMap is where ports of a container, PORT/PROTOCOL, are published. One that
// is only exposed has no bindings.
type PortMap map[string][]PortBinding

// PortBinding is an address and a port of the host.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// Ports are the container's ports, of the sandbox of one that runs.
func (c *Container) Ports(n *network.Sandbox) PortMap {
	ports := PortMap{}
	if n == nil {
		return ports
	}
	for _, word := range c.exposed() {
		ports[word] = nil
	}
	targets := n.Targets()
	for _, p := range n.Ports {
		key := portKey(p)
		for _, host := range c.engine.hostAddresses(p, targets) {
			ports[key] = append(ports[key], PortBinding{host, strconv.Itoa(int(p.HostPort))})
		}
	}
	return ports
}

func portKey(p network.Port) string {
	return strconv.Itoa(int(p.ContainerPort)) + "/" + p.Protocol
}

// hostAddresses are those of a published port, as far as it leads anywhere; all
// addresses are those of the families that the container is reached by, which is
// both for an ordinary user's.
func (e *Engine) hostAddresses(p network.Port, targets []network.Target) (list []string) {
	for _, all := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		led := slices.ContainsFunc(targets, func(t network.Target) bool { return e.Rootless || t.Address.Addr().Is4() == all.Is4() })
		switch {
		case !led:
		case !p.Host.IsValid():
			list = append(list, all.String())
		case p.Host.Is4() == all.Is4():
			list = append(list, p.Host.String())
		}
	}
	return list
}

// bindings are the ports that were asked for.
func (s *Settings) bindings() PortMap {
	ports := PortMap{}
	for _, p := range s.Ports {
		b := PortBinding{}
		if p.Host.IsValid() {
			b.HostIP = p.Host.String()
		}
		if p.HostPort != 0 {
			b.HostPort = strconv.Itoa(int(p.HostPort))
		}
		if p.HostEnd != 0 {
			b.HostPort += "-" + strconv.Itoa(int(p.HostEnd))
		}
		ports[portKey(p)] = append(ports[portKey(p)], b)
	}
	return ports
}

// inspectNetwork describes the container's networks.
func (c *Container) inspectNetwork(pid int) (InspectNetwork, error) {
	n, err := c.Sandbox()
	if err != nil {
		return InspectNetwork{}, err
	}
	i := InspectNetwork{Ports: c.Ports(n), Networks: map[string]InspectEndpoint{}}
	if pid > 0 {
		i.SandboxID, i.SandboxKey = c.ID, "/proc/"+strconv.Itoa(pid)+"/ns/net"
	}
	if len(c.Settings.Networks) == 0 {
		i.Networks[c.Settings.NetworkNames()[0]] = InspectEndpoint{}
	}
	for _, r := range c.Settings.Networks {
		e := InspectEndpoint{Aliases: r.Aliases, MacAddress: r.MAC, Links: c.Settings.Links, GwPriority: r.Priority}
		if r.IP.IsValid() || r.IP6.IsValid() {
			e.IPAMConfig = &InspectIPAM{addressText(r.IP), addressText(r.IP6)}
		}
		if r.Interface != "" {
			e.DriverOpts = map[string]string{interfaceOption: r.Interface}
		}
		i.Networks[r.Network] = e
	}
	if n == nil {
		return i, nil
	}
	for _, have := range n.Endpoints {
		e := i.Networks[have.Network]
		c.inspectEndpoint(&e, &have)
		i.Networks[have.Network] = e
	}
	// The fields of one network are docker's of old, for its bridge.
	if e, ok := i.Networks[BridgeNetwork]; ok {
		i.EndpointID, i.Gateway, i.IPAddress, i.IPPrefixLen, i.MacAddress = e.EndpointID, e.Gateway, e.IPAddress, e.IPPrefixLen, e.MacAddress
		i.IPv6Gateway, i.GlobalIPv6Address, i.GlobalIPv6PrefixLen = e.IPv6Gateway, e.GlobalIPv6Address, e.GlobalIPv6PrefixLen
	}
	return i, nil
}

func (c *Container) inspectEndpoint(e *InspectEndpoint, have *network.Endpoint) {
	e.NetworkID, e.EndpointID, e.MacAddress = have.NetworkID, c.ID, have.MAC
	for _, a := range have.Addresses {
		if a.Addr().Is4() {
			e.IPAddress, e.IPPrefixLen = a.Addr().String(), a.Bits()
		} else {
			e.GlobalIPv6Address, e.GlobalIPv6PrefixLen = a.Addr().String(), a.Bits()
		}
	}
	for _, g := range have.Gateways {
		if g.Is4() {
			e.Gateway = g.String()
		} else {
			e.IPv6Gateway = g.String()
		}
	}
	names := map[string]bool{}
	for _, name := range slices.Concat([]string{c.Name, c.ShortID()}, have.Aliases) {
		names[name] = true
	}
	e.DNSNames = slices.Sorted(maps.Keys(names))
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
