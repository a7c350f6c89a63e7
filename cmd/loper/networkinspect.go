package main

import (
	"errors"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"loper.run/network"
)

// networkDetails is `network inspect`, with docker's names.
type networkDetails struct {
	Name       string
	ID         string `json:"Id"`
	Created    time.Time
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       networkIPAM
	Internal   bool
	Attachable bool
	Ingress    bool
	ConfigFrom struct{ Network string }
	ConfigOnly bool
	Containers map[string]networkMember
	Options    map[string]string
	Labels     map[string]string
	Interface  string          `json:",omitempty"` // the bridge, or the parent
	DNS        []netip.Addr    `json:",omitempty"`
	NoDNS      bool            `json:",omitempty"`
	Routes     []network.Route `json:",omitempty"`
}

// networkIPAM is what addresses are chosen from.
type networkIPAM struct {
	Driver  string
	Options map[string]string
	Config  []networkSubnet
}

type networkSubnet struct {
	Subnet             string
	IPRange            string            `json:",omitempty"`
	Gateway            string            `json:",omitempty"`
	AuxiliaryAddresses map[string]string `json:",omitempty"`
}

// networkMember is a container in a network.
type networkMember struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string
	IPv6Address string
	// What is told when more is asked for.
	DNSNames      []string `json:",omitempty"`
	Interface     string   `json:",omitempty"`
	HostInterface string   `json:",omitempty"`
}

func newNetworkInspect(c *cli) *cobra.Command {
	var verbose bool
	cmd := c.inspectCommand("inspect [OPTIONS] NETWORK [NETWORK...]", "Show networks in full", func() (inspector, error) {
		e, err := c.engine()
		if err != nil {
			return nil, err
		}
		return func(name string) (any, error) {
			n, err := inspectNetwork(e.Networks, name, verbose)
			if errors.Is(err, network.ErrNotFound) {
				err = noSuch("network", name)
			}
			return n, err
		}, nil
	})
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show names and interfaces of containers too")
	cmd.ValidArgsFunction = c.completeNetworks
	return cmd
}

// inspectNetwork describes the network of a name.
func inspectNetwork(s *network.Store, name string, verbose bool) (*networkDetails, error) {
	n, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	d := &networkDetails{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: n.Driver, Internal: n.Internal, Attachable: n.Attachable,
		IPAM: networkIPAM{Driver: "default", Config: []networkSubnet{}}, Containers: map[string]networkMember{},
		Options: n.Options, Labels: n.Labels, Interface: n.Interface, DNS: n.Nameservers, NoDNS: n.NoDNS, Routes: n.Routes,
	}
	if d.Options == nil {
		d.Options = map[string]string{}
	}
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	d.EnableIPv4, d.EnableIPv6 = families(n)
	for _, sub := range n.Subnets {
		d.IPAM.Config = append(d.IPAM.Config, describeSubnet(n, sub))
	}
	members, err := s.Members(n)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		d.Containers[m.Container] = describeMember(m, verbose)
	}
	return d, nil
}

func describeSubnet(n *network.Network, sub network.Subnet) networkSubnet {
	c := networkSubnet{Subnet: sub.Prefix.String()}
	if sub.Gateway.IsValid() {
		c.Gateway = sub.Gateway.String()
	}
	if sub.Range.IsValid() {
		c.IPRange = sub.Range.String()
	}
	for name, a := range n.Aux {
		if sub.Prefix.Contains(a) {
			put(&c.AuxiliaryAddresses, name, a.String())
		}
	}
	return c
}

func describeMember(m *network.Member, verbose bool) networkMember {
	d := networkMember{Name: m.Name, EndpointID: m.Container, MacAddress: m.Endpoint.MAC}
	for _, p := range m.Endpoint.Addresses {
		if p.Addr().Is4() {
			d.IPv4Address = p.String()
		} else {
			d.IPv6Address = p.String()
		}
	}
	if verbose {
		d.DNSNames, d.Interface, d.HostInterface = m.Names, m.Endpoint.Interface, m.Endpoint.HostInterface
	}
	return d
}
