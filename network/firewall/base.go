package firewall

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
)

// version is part of a chain's name: tables of another one are made anew.
const version = "made-1"

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
func (h half) made() nft.Chain {
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

// The sets of networks. An interface is a bridge of ours.
func (h half) interfaces(name string) nft.Set {
	return nft.Set{Table: h.table, Name: name, Key: []nft.Type{nft.IfName}}
}

func (h half) bridges() nft.Set    { return h.interfaces("bridges") }
func (h half) internal() nft.Set   { return h.interfaces("internal") }
func (h half) isolated() nft.Set   { return h.interfaces("isolated") }
func (h half) masquerade() nft.Set { return h.interfaces("masquerade") }

// same has each bridge with itself: what comes from there and goes there.
func (h half) same() nft.Set {
	return nft.Set{Table: h.table, Name: "same", Key: []nft.Type{nft.IfName, nft.IfName}}
}

// home has the addresses that are at home on a bridge.
func (h half) home() nft.Set {
	return nft.Set{Table: h.table, Name: "home", Key: []nft.Type{nft.IfName, h.addr}, Interval: true}
}

func (h half) chain(name string) nft.Chain { return nft.Chain{Table: h.table, Name: name} }

// base adds the table and its rules, in the place of what there was.
func (h half) base(b *nft.Batch) {
	b.AddTable(h.table)
	b.DeleteTable(h.table)
	b.AddTable(h.table)
	for _, set := range []nft.Set{h.bridges(), h.internal(), h.isolated(), h.masquerade(), h.same(), h.home()} {
		b.AddSet(set)
	}
	b.AddChain(h.made())
	h.raw(b)
	h.input(b)
	h.forward(b)
	h.postrouting(b)
	h.ports(b)
}

// is matches an address in a range.
func is(f nft.Field, p netip.Prefix) nft.Expr {
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return nft.Masked(f, mask, nft.Addr(p.Addr()))
}

// raw drops packets that say they come from, or go to, the host's own loopback
// interface and don't: neither a container nor a neighbour of the host reaches
// what listens only there, or is published only there.
func (h half) raw(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "raw", Type: nft.Filter, Hook: nft.Prerouting, Priority: -300}
	b.AddChain(c)
	notLo := nft.Not(nft.IIFName, nft.Name("lo"))
	b.AddRule(c, "forged loopback", notLo, is(h.saddr, h.loopback), nft.Drop())
	b.AddRule(c, "loopback from elsewhere", notLo, is(h.daddr, h.loopback), nft.Drop())
}

// input keeps internal networks to the host's address on their own bridge.
func (h half) input(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "input", Type: nft.Filter, Hook: nft.Input}
	b.AddChain(c)
	b.AddRule(c, "", nft.NotIn(h.internal(), nft.IIFName), nft.Accept())
	b.AddRule(c, "the host on an internal network", nft.In(h.home(), nft.IIFName, h.daddr), nft.Accept())
	if h.six { // neighbours are found so
		b.AddRule(c, "neighbours", is(h.daddr, netip.MustParsePrefix("fe80::/10")), nft.Accept())
		b.AddRule(c, "neighbours", is(h.daddr, netip.MustParsePrefix("ff02::/16")), nft.Accept())
	}
	b.AddRule(c, "internal networks have no way out", nft.Drop())
}

// forward says who may talk to whom.
func (h half) forward(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "forward", Type: nft.Filter, Hook: nft.Forward}
	b.AddChain(c)
	from, to := nft.IIFName, nft.OIFName
	b.AddRule(c, "", nft.Any(nft.CtState, nft.Established|nft.Related), nft.Accept())
	b.AddRule(c, "within a network", nft.In(h.same(), from, to), nft.Accept())
	b.AddRule(c, "internal networks have no way out", nft.In(h.internal(), from), nft.Drop())
	b.AddRule(c, "internal networks have no way in", nft.In(h.internal(), to), nft.Drop())
	b.AddRule(c, "published ports", nft.Any(nft.CtStatus, nft.StatusDNAT), nft.Accept())
	b.AddRule(c, "isolated networks", nft.In(h.isolated(), from), nft.In(h.bridges(), to), nft.Drop())
	b.AddRule(c, "isolated networks", nft.In(h.bridges(), from), nft.In(h.isolated(), to), nft.Drop())
	b.AddRule(c, "only published ports from outside", nft.NotIn(h.bridges(), from), nft.In(h.bridges(), to), nft.Drop())
}

// postrouting gives packets a source that answers find back to.
func (h half) postrouting(b *nft.Batch) {
	c := nft.Chain{Table: h.table, Name: "postrouting", Type: nft.NAT, Hook: nft.Postrouting, Priority: 100}
	b.AddChain(c)
	// A container that comes back to its own network by a published port would
	// be answered directly, by an address that it didn't ask.
	b.AddRule(c, "published ports, from their own network",
		nft.Any(nft.CtStatus, nft.StatusDNAT), nft.In(h.home(), nft.OIFName, h.saddr), nft.Masquerade())
	b.AddRule(c, "published ports, from the host's loopback",
		is(h.saddr, h.loopback), nft.In(h.bridges(), nft.OIFName), nft.Masquerade())
	b.AddRule(c, "between networks", nft.In(h.bridges(), nft.OIFName), nft.Accept())
	b.AddRule(c, "out of networks", nft.In(h.masquerade(), nft.IIFName), nft.Masquerade())
}

// localOnly matches a destination that is one of the host's addresses.
func localOnly() nft.Expr { return nft.Is(nft.DAddrType, nft.Uint32(unix.RTN_LOCAL)) }
