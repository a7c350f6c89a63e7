// Package network gives containers addresses, names and ports. A network is a
// directory of files; what the kernel has of it is made when a container comes,
// through netlink alone.
package network

import (
	"net/netip"
	"time"
)

// The drivers.
const (
	Bridge  = "bridge"  // a segment of the engine's own, behind the host
	Macvlan = "macvlan" // the segment of a host's interface, with an address of link layer of one's own
	Ipvlan  = "ipvlan"  // the same with the interface's own
)

// Network is network.json: what was asked for, and what was chosen for it. It
// does not change as long as the network exists.
type Network struct {
	Name    string            `json:"name"`
	ID      string            `json:"id"` // 64 hexadecimal digits
	Created time.Time         `json:"created"`
	Driver  string            `json:"driver"`
	Subnets []Subnet          `json:"subnets,omitempty"` // at most one of each family
	Options map[string]string `json:"options,omitempty"` // as --opt, checked
	Labels  map[string]string `json:"labels,omitempty"`

	Internal bool `json:"internal,omitempty"` // no way out, and no resolvers but the network's own
	// Isolated keeps this network's containers from those of all others; a
	// bridge without it is isolated from those that are.
	Isolated bool `json:"isolated,omitempty"`
	NoDNS    bool `json:"noDNS,omitempty"`
	// Nameservers are asked for what the network does not know; nil: the host's.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`

	Interface string `json:"interface"`      // the bridge, or the parent of macvlan and ipvlan
	MTU       int    `json:"mtu,omitempty"`  // bytes; 0: the kernel's choice
	VLAN      int    `json:"vlan,omitempty"` // 802.1Q, on a bridge's ports; 0: none
	Mode      string `json:"mode,omitempty"` // of macvlan (bridge, private, vepa, passthru) and ipvlan (l2, l3, l3s)
}

// Subnet is a range of addresses of a network.
type Subnet struct {
	Prefix  netip.Prefix `json:"prefix"`          // masked
	Gateway netip.Addr   `json:"gateway"`         // invalid: none
	Range   netip.Prefix `json:"range,omitempty"` // the part that addresses are chosen from; invalid: all of it
}

// Request is one --network of a container: a network, and what is wanted of it.
type Request struct {
	Network   string     `json:"network"` // name, or the beginning of an id
	Aliases   []string   `json:"aliases,omitempty"`
	IP        netip.Addr `json:"ip,omitzero"`
	IP6       netip.Addr `json:"ip6,omitzero"`
	MAC       string     `json:"mac,omitempty"`
	Interface string     `json:"interface,omitempty"` // its name in the container; "": eth0, eth1, …
}

// Port is one -p: a port of the host that leads to one of a container.
type Port struct {
	Host          netip.Addr `json:"host,omitzero"`     // invalid: all addresses of both families
	HostPort      uint16     `json:"hostPort"`          // 0 in a request: any that is free
	HostEnd       uint16     `json:"hostEnd,omitempty"` // in a request: any free one from HostPort to this; 0: HostPort
	ContainerPort uint16     `json:"containerPort"`
	Protocol      string     `json:"protocol"` // tcp, udp, sctp
}
