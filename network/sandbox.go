package network

import "net/netip"

// SandboxFile is what a running container has of networks, in its run
// directory: Sandbox. The engine writes it before the start and when a network
// is connected or disconnected; the monitor carries it out and reads it for names.
const SandboxFile = "network.json"

// Sandbox is network.json of a running container.
//
//easyjson:json
type Sandbox struct {
	Container string     `json:"container"` // its id
	Name      string     `json:"name"`
	Endpoints []Endpoint `json:"endpoints"`
	Ports     []Port     `json:"ports,omitempty"`
	// PublishOpen lets published ports pass by the host's own firewall.
	PublishOpen bool `json:"publishOpen,omitempty"`

	Nameservers []netip.Addr `json:"nameservers,omitempty"` // asked for what no network knows; nil: the networks', else the host's
	Hosts       []HostName   `json:"hosts,omitempty"`       // further names, as of --add-host

	Egress    []string `json:"egress,omitempty"` // rules, as --egress; nil: all is allowed
	EgressLog bool     `json:"egressLog,omitempty"`
	Guarded   uint64   `json:"guarded,omitempty"` // the inode of the network namespace that has these rules
	RateIn    uint64   `json:"rateIn,omitempty"`  // bits a second to the container; 0: no limit
	RateOut   uint64   `json:"rateOut,omitempty"` // bits a second from it
}

// HostName is a name and its address.
type HostName struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
}

// Endpoint is a container's place in a network.
type Endpoint struct {
	Network       string         `json:"network"` // its name
	NetworkID     string         `json:"networkID"`
	Driver        string         `json:"driver"`
	Link          string         `json:"link"` // the bridge, or the parent
	Mode          string         `json:"mode,omitempty"`
	Internal      bool           `json:"internal,omitempty"`
	NoDNS         bool           `json:"noDNS,omitempty"`
	Nameservers   []netip.Addr   `json:"nameservers,omitempty"` // the network's
	MTU           int            `json:"mtu,omitempty"`
	VLAN          int            `json:"vlan,omitempty"`
	HostInterface string         `json:"hostInterface,omitempty"` // the host's end of the container's interface
	Interface     string         `json:"interface"`               // in the container
	MAC           string         `json:"mac"`
	Addresses     []netip.Prefix `json:"addresses,omitempty"` // with the subnet's bits
	Gateways      []netip.Addr   `json:"gateways,omitempty"`  // the subnets'; see DefaultRoutes
	NoDefault     bool           `json:"noDefault,omitempty"` // no default route, though there is a gateway; as Internal
	Metric        uint32         `json:"metric,omitempty"`    // of default routes
	Priority      int            `json:"priority,omitempty"`  // the way out is by the endpoint of the highest one
	Routes        []Route        `json:"routes,omitempty"`    // further ones
	Isolated      bool           `json:"isolated,omitempty"`
	Publish       netip.Addr     `json:"publish,omitzero"` // host address of ports that name none
	NoICC         bool           `json:"noICC,omitempty"`
	NoMasquerade  bool           `json:"noMasquerade,omitempty"`
	Aliases       []string       `json:"aliases,omitempty"` // names besides the container's own and its short id
}
