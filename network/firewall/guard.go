package firewall

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
	"loper.run/network"
)

// guard is the table that sees frames where they come into a bridge. A container
// speaks only as itself: with its own addresses of link layer, IPv4 and IPv6,
// also inside of ARP and neighbour discovery. And it is neither a router nor a
// DHCP server to others. Ports are a container's by the group that they are made
// in; what they may say are elements, with the ports' names. A port of which
// there is nothing says nothing.
type guard struct{ table nft.Table }

func guardOf(table string) guard { return guard{nft.Table{Family: nft.Bridge, Name: table}} }

func (g *guard) set(name string, key ...nft.Type) nft.Set {
	return nft.Set{Table: g.table, Name: name, Key: key}
}

func (g *guard) groups() nft.Set { return g.set("groups", nft.IfGroup) }
func (g *guard) own() nft.Set    { return g.set("own", nft.IfName, nft.EtherAddr) }
func (g *guard) own4() nft.Set   { return g.set("own4", nft.IfName, nft.EtherAddr, nft.IPv4Addr) }
func (g *guard) own6() nft.Set   { return g.set("own6", nft.IfName, nft.EtherAddr, nft.IPv6Addr) }

// targets are whose neighbour discovery may speak: own6 in the type that the
// bytes of a message have.
func (g *guard) targets() nft.Set {
	s := g.set("targets", nft.IfName, nft.Bytes16)
	s.TypeOf = []nft.Field{nft.IIFName, neighbourTarget}
	return s
}

func etherType(n uint16) []byte { return nft.Port(n) }

// Fields and values of what the guard looks at.
var (
	neighbourTarget = nft.Transport(8, 16)

	icmp6               = []byte{unix.IPPROTO_ICMPV6}
	neighbourSolicit    = []byte{135}
	neighbourAdvertise  = []byte{136}
	routerAdvertisement = []byte{134}
	redirect            = []byte{137}
	reserved            = []byte{255} // is no protocol of a packet
)

// base adds the table and its rules, in the place of what there was.
func (g *guard) base(b *nft.Batch) {
	b.AddTable(g.table)
	b.DeleteTable(g.table)
	b.AddTable(g.table)
	for _, s := range []nft.Set{g.groups(), g.own(), g.own4(), g.own6(), g.targets()} {
		b.AddSet(s)
	}
	chain := func(name string) nft.Chain { return nft.Chain{Table: g.table, Name: name} }
	in, arp, ip4, ip6, icmp := chain("frames"), chain("from-arp"), chain("from-ip4"), chain("from-ip6"), chain("from-icmp6")
	in.Type, in.Hook, in.Priority = nft.Filter, nft.Prerouting, -300
	for _, c := range []nft.Chain{arp, ip4, icmp, ip6, in} {
		b.AddChain(c)
	}
	frame, arps, four, six, icmps := b.Rules(in), b.Rules(arp), b.Rules(ip4), b.Rules(ip6), b.Rules(icmp)
	frame("no container", nft.NotIn(g.groups(), nft.IIFGroup), nft.Accept())
	frame("", nft.Is(nft.EthType, etherType(unix.ETH_P_IP)), nft.Goto(ip4.Name))
	frame("", nft.Is(nft.EthType, etherType(unix.ETH_P_IPV6)), nft.Goto(ip6.Name))
	frame("", nft.Is(nft.EthType, etherType(unix.ETH_P_ARP)), nft.Goto(arp.Name))
	frame("neither IP nor ARP", nft.Drop())

	// What most packets pass comes first; who is known by an address of IP is known
	// by that of the link layer too.
	foreign := func(in func(string, ...nft.Expr)) {
		in("foreign link-layer address", nft.NotIn(g.own(), nft.IIFName, nft.EthSrc), nft.Drop())
	}
	foreign(arps)
	// Rules that look into a packet say again what it is: nft can then name what
	// they look at, and load what it has listed.
	isARP, is4, is6 := nft.Is(nft.EthType, etherType(unix.ETH_P_ARP)), nft.Is(nft.EthProto, etherType(unix.ETH_P_IP)), nft.Is(nft.EthProto, etherType(unix.ETH_P_IPV6))
	arps("", isARP, nft.In(g.own4(), nft.IIFName, nft.ARPSenderMAC, nft.ARPSenderIP4), nft.Accept())
	none4 := nft.Is(nft.ARPSenderIP4, nft.Addr(netip.IPv4Unspecified()))
	arps("asks whether an address is free", isARP, none4, nft.In(g.own(), nft.IIFName, nft.ARPSenderMAC), nft.Accept())
	arps("forged ARP", nft.Drop())

	udp := nft.Is(nft.L4Proto, nft.UDP)
	four("DHCP server", udp, nft.Is(nft.SPort, nft.Port(67)), nft.Drop())
	four("", is4, nft.In(g.own4(), nft.IIFName, nft.EthSrc, nft.SAddr4), nft.Accept())
	foreign(four)
	four("asks for an address", is4, nft.Is(nft.SAddr4, nft.Addr(netip.IPv4Unspecified())), udp, nft.Is(nft.DPort, nft.Port(67)), nft.Accept())
	four("foreign source", nft.Drop())

	// What cannot be read as far as its protocol may hide anything.
	isICMP := nft.Is(nft.L4Proto, icmp6)
	six("", isICMP, nft.Jump(icmp.Name))
	six("DHCP server", udp, nft.Is(nft.SPort, nft.Port(547)), nft.Drop())
	six("", is6, nft.In(g.own6(), nft.IIFName, nft.EthSrc, nft.SAddr6), nft.Not(nft.L4Proto, reserved), nft.Accept())
	six("foreign source", nft.Drop())

	foreign(icmps)
	icmps("router advertisement", is6, isICMP, nft.Is(nft.ICMPType, routerAdvertisement), nft.Drop())
	icmps("redirect", is6, isICMP, nft.Is(nft.ICMPType, redirect), nft.Drop())
	icmps("forged neighbour", is6, isICMP, nft.Is(nft.ICMPType, neighbourAdvertise), nft.NotIn(g.targets(), nft.IIFName, neighbourTarget), nft.Drop())
	none6 := nft.Is(nft.SAddr6, nft.Addr(netip.IPv6Unspecified()))
	icmps("asks whether an address is free", is6, none6, isICMP, nft.Is(nft.ICMPType, neighbourSolicit), nft.Accept())
	icmps("listens to a group", is6, none6, isICMP, nft.Is(nft.ICMPType, []byte{143}), nft.Accept())
}

// add lets a container's ports speak as what it is.
func (g *guard) add(b *nft.Batch, sb *network.Sandbox) {
	for _, e := range bridged(sb) {
		b.AddElements(g.groups(), group(e.NetworkID))
		g.each(e, b.AddElements)
	}
}

// remove forgets a container, of which there may be nothing.
func (g *guard) remove(b *nft.Batch, sb *network.Sandbox) {
	for _, e := range bridged(sb) {
		g.each(e, b.AddElements) // so that they can be deleted
		g.each(e, b.DeleteElements)
	}
}

// removeNetwork forgets a network, of which there may be nothing.
func (g *guard) removeNetwork(b *nft.Batch, id string) {
	b.AddElements(g.groups(), group(id)) // so that it can be deleted
	b.DeleteElements(g.groups(), group(id))
}

func group(networkID string) nft.Element {
	return nft.Element{Key: nft.Uint32(network.PortGroup(networkID))}
}

func (g *guard) each(e *network.Endpoint, f func(nft.Set, ...nft.Element)) {
	mac, err := hex.DecodeString(strings.ReplaceAll(e.MAC, ":", ""))
	if err != nil || len(mac) != 6 || e.HostInterface == "" {
		return
	}
	name := nft.Name(e.HostInterface)
	f(g.own(), nft.Element{Key: nft.Key(name, mac)})
	addresses := e.Addresses
	if slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr().Is6() }) {
		addresses = append(slices.Clip(addresses), network.LinkLocal(mac))
	}
	for _, a := range addresses {
		s := g.own4()
		if a.Addr().Is6() {
			s = g.own6()
			f(g.targets(), nft.Element{Key: nft.Key(name, nft.Addr(a.Addr()))})
		}
		f(s, nft.Element{Key: nft.Key(name, mac, nft.Addr(a.Addr()))})
	}
}
