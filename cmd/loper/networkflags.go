package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"loper.run/container"
	"loper.run/network"
)

// networkFlags is what flags say of the one network that a container is on, or
// of the first.
type networkFlags struct {
	ip, ip6 netip.Addr
	mac     string
	aliases []string
}

// flags declares what connects a container.
func (n *networkFlags) flags(f *pflag.FlagSet, s *container.Settings) {
	add := repeated{value{"network", s.AddNetwork}}
	f.Var(add, "network", "Network: bridge, none, host, container:NAME, ns:PATH, or NAME[:alias=…,ip=…,ip6=…,mac=…,interface_name=…,gw-priority=…]")
	f.Var(add, "net", "Network, as --network")
	f.Lookup("net").Hidden = true
	n.addresses(f)
	f.Var(appendTo(&n.aliases, parseAlias), "network-alias", "Add a name by which the network finds the container")
	f.Var(appendTo(&n.aliases, parseAlias), "net-alias", "Name in the network, as --network-alias")
	f.Lookup("net-alias").Hidden = true
	f.VarP(appendAll(&s.Ports, container.ParsePublish), "publish", "p", "Publish a port to the host ([[ADDRESS:]HOSTPORT:]PORT[/tcp|udp|sctp], or ranges)")
	f.BoolVarP(&s.PublishAll, "publish-all", "P", false, "Publish all exposed ports to ports of the host that are free")
	f.BoolVar(&s.PublishOpen, "publish-open", false, "Let published ports pass by the host's own firewall")
	f.Var(appendAll(&s.Expose, container.ParseExpose), "expose", "Expose a port or a range of ports (PORT[-PORT][/PROTOCOL])")
	f.Var(list(&s.Links), "link", "Add another container's address to /etc/hosts (CONTAINER[:ALIAS])")
	f.Var(list(&s.AddHosts), "add-host", "Add a host name to /etc/hosts (NAME:IP or NAME:host-gateway)")
	f.Var(list(&s.DNS), "dns", "Set name servers")
	f.Var(list(&s.DNSSearch), "dns-search", "Set search domains")
	f.Var(list(&s.DNSOption), "dns-option", "Set resolver options")
	f.Var(repeated{value{"list", func(word string) error { return egress(&s.Egress, word) }}}, "egress", "What the container may reach: none, all, or RULE,… of names, addresses, networks and ports")
	f.BoolVar(&s.EgressLog, "egress-log", false, "Put on record what --egress refuses")
	f.Var(value{"rate", func(word string) error { return rates(s, word) }}, "network-rate", "Limit of bits a second, as in in=100mbit,out=10mbit")
}

// addresses declares the addresses that can be asked for.
func (n *networkFlags) addresses(f *pflag.FlagSet) {
	f.Var(parsed(&n.ip, container.ParseIP), "ip", "IPv4 address (172.30.100.104)")
	f.Var(parsed(&n.ip6, container.ParseIP6), "ip6", "IPv6 address (2001:db8::33)")
	f.Var(parsed(&n.mac, network.ParseMAC), "mac-address", "Address of the link layer (92:d0:c6:0a:29:33)")
}

func parseAlias(word string) (string, error) { return word, network.CheckAlias(word) }

// finish gives the network what the flags of one network say.
func (n *networkFlags) finish(s *container.Settings) error {
	if !n.ip.IsValid() && !n.ip6.IsValid() && n.mac == "" && len(n.aliases) == 0 {
		return nil
	}
	if s.Network != "" {
		return fmt.Errorf("conflicting options: --ip, --ip6, --mac-address or --network-alias and the network mode %q", s.Network)
	}
	if len(s.Networks) == 0 {
		if err := s.AddNetwork(container.BridgeNetwork); err != nil {
			return err
		}
	}
	if len(s.Networks) > 1 && (n.ip.IsValid() || n.ip6.IsValid() || n.mac != "") {
		return errors.New("conflicting options: --ip, --ip6 or --mac-address and several networks: write --network NAME:ip=…,mac=…")
	}
	return n.apply(&s.Networks[0])
}

// apply adds the flags to what a --network says by itself.
func (n *networkFlags) apply(r *network.Request) error {
	for _, c := range []struct {
		both       bool
		flag, what string
	}{
		{n.ip.IsValid() && r.IP.IsValid(), "--ip", "IPv4 address"},
		{n.ip6.IsValid() && r.IP6.IsValid(), "--ip6", "IPv6 address"},
		{n.mac != "" && r.MAC != "", "--mac-address", "MAC address"},
		{len(n.aliases) > 0 && len(r.Aliases) > 0, "--network-alias", "alias"},
	} {
		if c.both {
			return fmt.Errorf("conflicting options: cannot specify both %s and per-network %s", c.flag, c.what)
		}
	}
	if n.ip.IsValid() {
		r.IP = n.ip
	}
	if n.ip6.IsValid() {
		r.IP6 = n.ip6
	}
	if n.mac != "" {
		r.MAC = n.mac
	}
	r.Aliases = append(r.Aliases, n.aliases...)
	return nil
}

// egress takes in one --egress. All alone is what is without any.
func egress(rules *[]string, word string) error {
	words := append(*rules, strings.Split(word, ",")...)
	for _, w := range words {
		if w == "" || (w == "none" || w == "all") && len(words) > 1 {
			return fmt.Errorf("'%s': write none, all, or a list of rules", strings.Join(words, ","))
		}
	}
	*rules = words
	return nil
}

// rates reads in=RATE,out=RATE.
func rates(s *container.Settings, word string) error {
	for field := range strings.SplitSeq(word, ",") {
		way, text, _ := strings.Cut(field, "=")
		rate, err := bitRate(text)
		switch {
		case err != nil:
			return err
		case way == "in":
			s.RateIn = rate
		case way == "out":
			s.RateOut = rate
		default:
			return fmt.Errorf("'%s': write in=RATE,out=RATE", word)
		}
	}
	return nil
}

// bitRate reads bits a second as tc does: 512kbit, 1.5gbit; a bare number is bits.
func bitRate(word string) (uint64, error) {
	n, err := units.FromHumanSize(strings.TrimSuffix(strings.ToLower(word), "bit"))
	if err != nil || strings.HasSuffix(word, "b") || n < 8000 || n > 1e12 {
		return 0, fmt.Errorf("'%s' is not a rate such as 100mbit, from 8kbit to 1tbit", word)
	}
	return uint64(n), nil
}
