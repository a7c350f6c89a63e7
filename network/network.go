// Package network gives containers addresses, names and ports. A network is a
// directory of files; what the kernel has of it is made when a container comes,
// through netlink alone.
//
// What networks there are lies below the lasting root:
//
//	network/NAME/network.json   Network; the name is taken by making the directory
//	network/.ula                the prefix that IPv6 subnets are cut from
//
// What containers have of them lies below the run root and goes with a reboot:
//
//	network/ID/endpoint/CONTAINER      Member; only the container's id while it is being made
//	network/ID/address/ADDRESS         the id of the container that has the address
//	network/ID/name/NAME/CONTAINER     the addresses, a line each, of a container with this name in lower case
//	network/ID/last4, last6            the address that was given last
//	network/port/tcp-8080/HOST         the id of the container that has the port of this host address
//	network/port/CONTAINER             the ports that a container has or is about to take, a line each
//
// Addresses and ports are taken by making a hard link, names are whole when they
// are seen. Who is killed leaves an endpoint or a list of ports, by which Release
// finds the rest.
package network

import (
	"net/netip"
	"time"
)

//go:generate go tool easyjson -no_std_marshalers -output_filename zjson.go .
//go:generate sed -i -e "/^\teasyjson \"/d" -e "/_ easyjson.Marshaler/d" zjson.go

// The drivers.
const (
	Bridge  = "bridge"  // a segment of the engine's own, behind the host
	Macvlan = "macvlan" // the segment of a host's interface, with an address of link layer of one's own
	Ipvlan  = "ipvlan"  // the same with the interface's own
)

// Network is network.json: what was asked for, and what was chosen for it. It
// does not change as long as the network exists.
//
//easyjson:json
type Network struct {
	Name    string            `json:"name"`
	ID      string            `json:"id"` // 64 hexadecimal digits
	Created time.Time         `json:"created"`
	Driver  string            `json:"driver"`
	Subnets []Subnet          `json:"subnets,omitempty"` // at most one of each family
	Options map[string]string `json:"options,omitempty"` // as --opt, checked
	Labels  map[string]string `json:"labels,omitempty"`

	Attachable bool `json:"attachable,omitempty"` // says nothing: every network is
	Internal   bool `json:"internal,omitempty"`   // no way out, and no resolvers but the network's own
	// Isolated keeps this network's containers from those of all others: so it
	// is unless the option isolate=false was given. A bridge without it is
	// isolated from those that are.
	Isolated bool `json:"isolated,omitempty"`
	NoDNS    bool `json:"noDNS,omitempty"`
	// Nameservers are asked for what the network does not know; nil: the host's.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	// Aux are addresses that no container gets, by the names of what has them.
	Aux map[string]netip.Addr `json:"aux,omitempty"`

	// NoICC keeps the network's containers from each other.
	NoICC bool `json:"noICC,omitempty"`
	// NoMasquerade lets packets leave the host with the containers' addresses.
	NoMasquerade bool `json:"noMasquerade,omitempty"`
	// Publish is the host address of published ports that name none; invalid: all.
	Publish netip.Addr `json:"publish,omitzero"`
	// NoDefault gives containers no default route through the network.
	NoDefault bool    `json:"noDefault,omitempty"`
	Metric    uint32  `json:"metric,omitempty"` // of the default route
	Routes    []Route `json:"routes,omitempty"` // that containers get

	Interface string `json:"interface"`        // the bridge, or the parent of macvlan and ipvlan
	MTU       int    `json:"mtu,omitempty"`    // bytes; 0: the kernel's choice
	VLAN      int    `json:"vlan,omitempty"`   // 802.1Q, on a bridge's ports; 0: none
	Prefix    string `json:"prefix,omitempty"` // of the names of interfaces in containers; "": eth
	Mode      string `json:"mode,omitempty"`   // of macvlan (bridge, private, vepa, passthru) and ipvlan (l2, l3, l3s)
}

// Subnet is a range of addresses of a network.
type Subnet struct {
	Prefix  netip.Prefix `json:"prefix"`           // masked
	Gateway netip.Addr   `json:"gateway,omitzero"` // invalid: none
	Range   netip.Prefix `json:"range,omitzero"`   // the part that addresses are chosen from; invalid: all of it
}

// Route is a route that the containers of a network get.
type Route struct {
	To      netip.Prefix `json:"to"`
	Gateway netip.Addr   `json:"gateway"`
	Metric  uint32       `json:"metric,omitempty"`
}

// Request is one --network of a container: a network, and what is wanted of it.
//
//easyjson:json
type Request struct {
	Network   string     `json:"network"` // name, or the beginning of an id
	Aliases   []string   `json:"aliases,omitempty"`
	IP        netip.Addr `json:"ip,omitzero"`
	IP6       netip.Addr `json:"ip6,omitzero"`
	MAC       string     `json:"mac,omitempty"`
	Interface string     `json:"interface,omitempty"` // its name in the container; "": eth0, eth1, …
	Priority  int        `json:"priority,omitempty"`  // the way out is by the network of the highest one
}

// Port is one -p: a port of the host that leads to one of a container.
//
//easyjson:json
type Port struct {
	Host          netip.Addr `json:"host,omitzero"`     // invalid: all addresses of both families
	HostPort      uint16     `json:"hostPort"`          // 0 in a request: any that is free
	HostEnd       uint16     `json:"hostEnd,omitempty"` // in a request: any free one from HostPort to this; 0: HostPort
	ContainerPort uint16     `json:"containerPort"`
	Protocol      string     `json:"protocol"` // tcp, udp, sctp
}
