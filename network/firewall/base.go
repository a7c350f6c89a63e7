package firewall

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
	"loper.run/network"
)

// version is part of a chain's name: tables of another one are made anew.
const version = "made-5"

// half is what one of the families has.
type half struct {
	table nft.Table
	six   bool

	addr         nft.Type
	saddr, daddr nft.Field
	loopback     netip.Prefix
	// deaf: bridges show the packet filter what crosses them, before the host
	// sees it. Then answers to ::1 are dropped, and ::1 can't be published.
	deaf bool
}

// made is a chain whose name says how the table was made.
func (h *half) made() nft.Chain {
	name := version
	if h.deaf {
		name += "-deaf"
	}
	return h.chain(name)
}

func half4(table string) half {
	return half{
		table: nft.Table{Family: nft.IP, Name: table}, addr: nft.IPv4Addr, saddr: nft.SAddr4, daddr: nft.DAddr4,
		loopback: netip.MustParsePrefix("127.0.0.0/8"),
	}
}

func half6(table string, deaf bool) half {
	return half{
		deaf:  deaf,
		table: nft.Table{Family: nft.IP6, Name: table}, six: true, addr: nft.IPv6Addr, saddr: nft.SAddr6, daddr: nft.DAddr6,
		loopback: netip.MustParsePrefix("::1/128"),
	}
}

// The sets of bridges of ours.
const (
	bridges    = "bridges"
	internal   = "internal"
	isolated   = "isolated"
	masquerade = "masqueraded"
)

func (h *half) interfaces(set string) nft.Set {
	return nft.Set{Table: h.table, Name: set, Key: []nft.Type{nft.IfName}}
}

// in matches an interface that is in a set.
func (h *half) in(set string, f nft.Field) nft.Expr { return nft.In(h.interfaces(set), f) }

// networkSets are all that know of networks.
func (h *half) networkSets() []nft.Set {
	return []nft.Set{h.interfaces(bridges), h.interfaces(internal), h.interfaces(isolated), h.interfaces(masquerade), h.same(), h.apart(), h.home()}
}

// same has each bridge with itself: what comes from there and goes there.
func (h *half) same() nft.Set {
	return nft.Set{Table: h.table, Name: "same", Key: []nft.Type{nft.IfName, nft.IfName}}
}

// apart has each bridge with itself whose containers are kept from each other.
// They are by the bridge, but could ask the host to be a way around it.
func (h *half) apart() nft.Set {
	return nft.Set{Table: h.table, Name: "apart", Key: []nft.Type{nft.IfName, nft.IfName}}
}

// home has the addresses that are at home on a bridge.
func (h *half) home() nft.Set {
	return nft.Set{Table: h.table, Name: "home", Key: []nft.Type{nft.IfName, h.addr}, Interval: true}
}

// subnets are the addresses that nobody but containers has, on whatever bridge.
func (h *half) subnets() nft.Set {
	return nft.Set{Table: h.table, Name: "subnets", Key: []nft.Type{h.addr}, Interval: true}
}

func (h *half) chain(name string) nft.Chain { return nft.Chain{Table: h.table, Name: name} }

// base adds the table and its rules, in the place of what there was.
func (h *half) base(b *nft.Batch) {
	b.AddTable(h.table)
	b.DeleteTable(h.table)
	b.AddTable(h.table)
	for _, set := range h.networkSets() {
		b.AddSet(set)
	}
	b.AddSet(h.subnets())
	b.AddChain(h.made())
	h.raw(b)
	h.input(b)
	h.forward(b)
	h.postrouting(b)
	h.unseal(b)
	h.ports(b)
}

// loIndex is the number of every network namespace's loopback interface.
const loIndex = 1

// is matches an address in a range.
func is(f nft.Field, p netip.Prefix) nft.Expr {
	if p.Bits()%8 == 0 { // its first bytes are enough
		return nft.Is(f.First(uint8(p.Bits()/8)), nft.Addr(p.Masked().Addr())[:p.Bits()/8])
	}
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return nft.Masked(f, mask, nft.Addr(p.Addr()))
}

// raw drops packets that say they come from, or go to, the host's own loopback
// interface and don't: neither a container nor a neighbour of the host reaches
// what listens only there, or is published only there.
func (h *half) raw(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "raw", Type: nft.Filter, Hook: nft.Prerouting, Priority: -300}
	b.AddChain(c)
	add := b.Rules(c)
	add("", nft.Is(nft.IIF, nft.Uint32(loIndex)), nft.Accept())
	add("forged loopback", is(h.saddr, h.loopback), nft.Drop())
	add("loopback from elsewhere", is(h.daddr, h.loopback), nft.Drop())
}

// input keeps internal networks to the host's address on their own bridge.
func (h *half) input(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "input", Type: nft.Filter, Hook: nft.Input}
	b.AddChain(c)
	add := b.Rules(c)
	add("", nft.NotIn(h.interfaces(internal), nft.IIFName), nft.Accept())
	add("the host on an internal network", nft.In(h.home(), nft.IIFName, h.daddr), nft.Accept())
	if h.six { // neighbours are found so
		add("neighbours", is(h.daddr, netip.MustParsePrefix("fe80::/10")), nft.Accept())
		add("neighbours", is(h.daddr, netip.MustParsePrefix("ff02::/16")), nft.Accept())
	}
	add("internal networks have no way out", nft.Drop())
}

// forward says who may talk to whom.
func (h *half) forward(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "forward", Type: nft.Filter, Hook: nft.Forward}
	b.AddChain(c)
	add := b.Rules(c)
	from, to := nft.IIFName, nft.OIFName
	fromOurs, toOurs := h.in(bridges, from), h.in(bridges, to)
	add("", nft.Any(nft.CtState, nft.Established|nft.Related), nft.Accept())
	add("within a network", nft.In(h.same(), from, to), nft.Accept())
	add("only the host puts packets into the gate", nft.Is(to, nft.Name(gateOf(h.table.Name).out)), nft.Drop())
	add("internal networks have no way out", h.in(internal, from), nft.Drop())
	add("internal networks have no way in", h.in(internal, to), nft.Drop())
	add("published ports", nft.Any(nft.CtStatus, nft.StatusDNAT), nft.Accept())
	add("containers that are kept from each other", nft.In(h.apart(), from, to), nft.Drop())
	add("isolated networks", h.in(isolated, from), toOurs, nft.Drop())
	add("isolated networks", fromOurs, h.in(isolated, to), nft.Drop())
	add("only published ports from outside", nft.NotIn(h.interfaces(bridges), from), toOurs, nft.Drop())
}

// postrouting gives packets a source that answers find back to.
func (h *half) postrouting(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "postrouting", Type: nft.NAT, Hook: nft.Postrouting, Priority: 100}
	b.AddChain(c)
	add := b.Rules(c)
	// A container that comes back to its own network by a published port would
	// be answered directly, by an address that it didn't ask.
	add("published ports, from their own network",
		nft.Any(nft.CtStatus, nft.StatusDNAT), nft.In(h.home(), nft.OIFName, h.saddr), nft.Masquerade())
	add("published ports, from the host's loopback",
		is(h.saddr, h.loopback), h.in(bridges, nft.OIFName), nft.Masquerade())
	add("between networks", h.in(bridges, nft.OIFName), nft.Accept())
	add("out of networks", h.in(masquerade, nft.IIFName), nft.Masquerade())
}

// unseal marks what a bridge's seal lets through because these rules are there.
// Where bridges show the packet filter what crosses them, it is translated before
// the host has routed it: an answer to the host's own loopback then comes in by
// the bridge's own interface with that address, and what goes back to its own
// network may go out by it without having been routed.
func (h *half) unseal(b *nft.Batch) {
	out := nft.Chain{Table: h.table, Name: "pass", Type: nft.Filter, Hook: nft.Postrouting, Priority: lastAtPostrouting}
	b.AddChain(out)
	b.AddRule(out, "these rules are there", h.in(bridges, nft.OIFName), nft.AddMark(network.PassMark))
	// Most packets belong to no published port, and stay one rule.
	in := nft.Chain{Table: h.table, Name: "arrived", Type: nft.Filter, Hook: nft.Prerouting, Priority: lastAtPrerouting}
	b.AddChain(in)
	add := b.Rules(in)
	add("", nft.None(nft.CtStatus, nft.StatusDNAT), nft.Accept())
	add("through the gate", nft.Is(nft.IIFName, nft.Name(gateOf(h.table.Name).in)), nft.SetMark(0))
	mark, back := nft.AddMark(network.PassMark), nft.In(h.home(), nft.IIFName, h.daddr)
	add("answers to the host's loopback", is(h.daddr, h.loopback), h.in(bridges, nft.IIFName), mark)
	// Not of a first packet that is translated once more, since it goes out later.
	add("published ports, from their own network", nft.Any(nft.CtStatus, nft.StatusSNAT), back, mark)
	add("published ports, from their own network", nft.Any(nft.CtState, nft.NewState), back, mark)
}

// localOnly matches a destination that is one of the host's addresses.
func localOnly() nft.Expr { return nft.Is(nft.DAddrType, nft.Uint32(unix.RTN_LOCAL)) }
