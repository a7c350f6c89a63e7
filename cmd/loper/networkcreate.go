package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"loper.run/network"
)

// networkWords are the flags of `network create` that are read together.
type networkWords struct {
	subnets, gateways, ranges, aux, dns, routes []string
	labels                                      []string
	iface, ipam, scope                          string
	ipv4, ipv6, ignore                          bool
}

func newNetworkCreate(c *cli) *cobra.Command {
	spec, w := &network.Spec{}, &networkWords{}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [NETWORK]",
		Short: "Make a network",
		Args:  between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if spec.Name = args[0]; spec.Name == "" {
					return network.CheckName("")
				}
			}
			if err := w.fill(cmd, spec); err != nil {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			n, err := e.Networks.Create(*spec)
			if w.ignore && errors.Is(err, network.ErrExists) {
				n, err = e.Networks.Get(spec.Name)
			}
			if err == nil {
				fmt.Fprintln(c.out, n.ID)
			}
			return err
		},
	}
	w.flags(cmd, spec)
	return cmd
}

func (w *networkWords) flags(cmd *cobra.Command, spec *network.Spec) {
	f := cmd.Flags()
	f.StringVarP(&spec.Driver, "driver", "d", network.Bridge, "bridge, macvlan or ipvlan")
	f.StringSliceVar(&w.subnets, "subnet", nil, "Range of addresses (192.0.2.0/24), of each family one at most")
	f.StringSliceVar(&w.gateways, "gateway", nil, "Address of the router in a subnet")
	f.StringSliceVar(&w.ranges, "ip-range", nil, "Part of a subnet that addresses are chosen from")
	f.StringSliceVar(&w.aux, "aux-address", nil, "Address that no container gets (NAME=ADDRESS)")
	f.BoolVar(&spec.Internal, "internal", false, "No way out of the network")
	f.BoolVar(&w.ipv4, "ipv4", true, "Addresses of IPv4")
	f.BoolVar(&w.ipv6, "ipv6", true, "Addresses of IPv6")
	f.Var(list(&w.labels), "label", "Set a label on the network")
	f.VarP(pairs(&spec.Options), "opt", "o", "Set an option of the driver (mtu=1400)")
	f.BoolVar(&spec.NoDNS, "disable-dns", false, "No names in the network")
	f.StringSliceVar(&w.dns, "dns", nil, "Name server for what the network does not know")
	f.StringVar(&w.iface, "interface-name", "", "Bridge, or parent interface")
	f.StringArrayVar(&w.routes, "route", nil, "Route that containers get (SUBNET,GATEWAY[,METRIC])")
	f.BoolVar(&w.ignore, "ignore", false, "No error when there is such a network already")
	f.BoolVar(&spec.Attachable, "attachable", false, "Kept for Docker: every network is")
	f.StringVar(&w.scope, "scope", "local", "Kept for Docker: local")
	f.StringVar(&w.ipam, "ipam-driver", "default", "Who chooses addresses: default or host-local, which are the same")
}

// fill reads the flags into what they ask for.
func (w *networkWords) fill(cmd *cobra.Command, spec *network.Spec) (err error) {
	if w.ipam != "default" && w.ipam != "host-local" {
		return fmt.Errorf("--ipam-driver: %q is not supported: known are default, host-local", w.ipam)
	}
	if w.scope != "local" {
		return fmt.Errorf("--scope: %q is not supported: networks are local to the host", w.scope)
	}
	if spec.Subnets, err = network.ParseSubnets(w.subnets, w.gateways, w.ranges); err != nil {
		return err
	}
	spec.NoIPv4, spec.NoIPv6 = !w.ipv4, !w.ipv6
	spec.IPv4 = w.ipv4 && cmd.Flags().Changed("ipv4")
	spec.IPv6 = w.ipv6 && cmd.Flags().Changed("ipv6")
	if spec.Labels, err = keyValues(nil, w.labels); err != nil {
		return err
	}
	for _, word := range w.aux {
		if spec.Aux == nil {
			spec.Aux = map[string]netip.Addr{}
		}
		if err := network.ParseAux(spec.Aux, word); err != nil {
			return err
		}
	}
	for _, word := range w.dns {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return fmt.Errorf("--dns: %q is no address", word)
		}
		spec.Nameservers = append(spec.Nameservers, a)
	}
	for _, word := range w.routes {
		r, err := network.ParseRoute(word)
		if err != nil {
			return err
		}
		spec.Routes = append(spec.Routes, r)
	}
	if w.iface != "" {
		key := "parent"
		if cmp.Or(spec.Driver, network.Bridge) == network.Bridge {
			key = "com.docker.network.bridge.name"
		}
		if given, ok := spec.Options[key]; ok && given != w.iface {
			return fmt.Errorf("--interface-name %s and --opt %s=%s: there is one interface", w.iface, key, given)
		}
		put(&spec.Options, key, w.iface)
	}
	return nil
}
