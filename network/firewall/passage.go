package firewall

import (
	"loper.run/internal/nft"
	"loper.run/network"
)

// The last that happens to a packet at the hooks of input and routing, before
// connection tracking keeps what it has seen: at input it does so one before the
// last with IPv6.
const (
	lastAtInput       = 1<<31 - 3
	lastAtPrerouting  = 1<<31 - 3
	lastAtPostrouting = 1<<31 - 3
	firstAtOutput     = -400
)

// A published port is asked or open: the host's firewall decides about it, or
// nobody. The sets have the keys of the maps, in which a kernel before Linux 6.4
// cannot look without using what it finds.
const (
	askedPorts = "asked-"
	openPorts  = "open-"
)

// which is the name of the sets that a container's ports are in.
func which(sb *network.Sandbox) string {
	if sb.PublishOpen {
		return openPorts
	}
	return askedPorts
}

// any is the set that belongs to anyPorts, and host the one to hostPorts.
func (h *half) any(which string) nft.Set {
	return nft.Set{Table: h.table, Name: which + "ports", Key: []nft.Type{nft.Proto, nft.Service}}
}

func (h *half) host(which string) nft.Set {
	return nft.Set{Table: h.table, Name: which + "host-ports", Key: []nft.Type{h.addr, nft.Proto, nft.Service}}
}

// published are what a packet for such a port matches.
func (h *half) published(which string) []nft.Expr {
	return []nft.Expr{
		nft.In(h.any(which), nft.L4Proto, nft.DPort),
		nft.In(h.host(which), h.daddr, nft.L4Proto, nft.DPort),
	}
}

// keys are elements without what they lead to.
func keys(elements []nft.Element) []nft.Element {
	list := make([]nft.Element, len(elements))
	for i, e := range elements {
		list[i] = nft.Element{Key: e.Key, Comment: e.Comment}
	}
	return list
}

// comeIn adds the chain by which packets from elsewhere get to what translates
// them: those that the host's firewall has let in, and those that need not ask.
func (h *half) comeIn(b *nft.Batch, translate nft.Chain) {
	for _, which := range []string{askedPorts, openPorts} {
		b.AddSet(h.any(which))
		b.AddSet(h.host(which))
	}
	in := nft.Chain{Table: h.table, Name: "prerouting", Type: nft.NAT, Hook: nft.Prerouting, Priority: -100}
	b.AddChain(in)
	b.AddRule(in, "let in", nft.Is(nft.IIFName, nft.Name(gateOf(h.table.Name).in)), nft.Jump(translate.Name))
	b.AddRule(in, "internal networks have no way out", h.in(internal, nft.IIFName), nft.Accept())
	// It would be answered, or believed, as a container. Only the first packets
	// of connections come here.
	b.AddRule(in, "a container's address, from elsewhere", nft.NotIn(h.interfaces(bridges), nft.IIFName),
		nft.In(h.subnets(), h.saddr), nft.Drop())
	for _, port := range h.published(openPorts) {
		b.AddRule(in, "need not ask", port, localOnly(), nft.Jump(translate.Name))
	}
}

// gateChain is where packets go into the gate. The tables have it if and only if
// the gate is made.
const gateChain = "gate"

// passage adds to a table of ours how packets come to the gate and leave it. It
// may be added again. No rule has the number of an interface, so that who saves
// all rules of a host can load them where there is no gate.
func (g *gate) passage(b *nft.Batch, h half) {
	// A packet is still alive here because no rule of the host's own firewall was
	// against it.
	input := nft.Chain{Table: h.table, Name: "host-input", Type: nft.Filter, Hook: nft.Input, Priority: lastAtInput}
	again := h.chain(gateChain)
	output := nft.Chain{Table: h.table, Name: "gate-only", Type: nft.Filter, Hook: nft.Output, Priority: firstAtOutput}
	for _, c := range []nft.Chain{input, again, output} {
		b.AddChain(c)
		b.FlushChain(c)
	}
	// Only the first packet of a connection has to come by here.
	b.AddRule(input, "", nft.Any(nft.CtState, nft.Established|nft.Related), nft.Return())
	b.AddRule(input, "its port was closed meanwhile", nft.Is(nft.IIFName, nft.Name(g.in)), nft.Drop())
	b.AddRule(input, "internal networks have no way out", h.in(internal, nft.IIFName), nft.Return())
	if h.deaf { // refused at once, as at a port that nobody has
		b.AddRule(input, "nothing is published there", is(h.daddr, h.loopback), nft.Return())
	}
	for _, port := range h.published(askedPorts) {
		b.AddRule(input, "published ports", nft.Any(nft.CtState, nft.NewState), localOnly(), port, nft.Goto(again.Name))
	}
	to := g.gateway4()
	if h.six {
		to = g.gateway6()
	}
	b.AddRule(again, "", nft.SetMark(g.mark), nft.Dup(to, 0), nft.Drop())
	b.AddRule(output, "the gate is gone", nft.Is(nft.MetaMark, nft.Uint32(g.mark)), nft.Not(nft.OIFName, nft.Name(g.out)), nft.Drop())
}
