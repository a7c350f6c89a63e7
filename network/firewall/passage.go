package firewall

import (
	"loper.run/internal/nft"
)

// The last that happens to a packet at the hooks of input and prerouting, before
// connection tracking keeps what it has seen: at input it does so one before the
// last with IPv6.
const (
	lastAtInput      = 1<<31 - 3
	lastAtPrerouting = 1<<31 - 3
)

// openPorts are those of anyPorts that are open whatever the host's firewall
// says, and openHostPorts those of hostPorts.
func (h *half) openPorts() nft.Set {
	return nft.Set{Table: h.table, Name: "open-ports", Key: []nft.Type{nft.Proto, nft.Service}}
}

func (h *half) openHostPorts() nft.Set {
	return nft.Set{Table: h.table, Name: "open-host-ports", Key: []nft.Type{h.addr, nft.Proto, nft.Service}}
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
	b.AddSet(h.openPorts())
	b.AddSet(h.openHostPorts())
	in := nft.Chain{Table: h.table, Name: "prerouting", Type: nft.NAT, Hook: nft.Prerouting, Priority: -100}
	b.AddChain(in)
	b.AddRule(in, "let in", nft.Is(nft.IIFName, nft.Name(gateOf(h.table.Name).in)), nft.Jump(translate.Name))
	b.AddRule(in, "internal networks have no way out", h.in(internal, nft.IIFName), nft.Accept())
	b.AddRule(in, "need not ask", nft.In(h.openPorts(), nft.L4Proto, nft.DPort), localOnly(), nft.Jump(translate.Name))
	b.AddRule(in, "need not ask", nft.In(h.openHostPorts(), h.daddr, nft.L4Proto, nft.DPort), localOnly(), nft.Jump(translate.Name))
}

// published are what a packet for a published port matches.
func (h *half) published() []nft.Expr {
	return []nft.Expr{nft.In(h.hostPorts(), h.daddr, nft.L4Proto, nft.DPort), nft.In(h.anyPorts(), nft.L4Proto, nft.DPort)}
}

// gateChain is where packets go into the gate. The tables have it if and only if
// the gate is made.
const gateChain = "gate"

// passage adds to a table of ours how packets come to the gate and leave it. It
// may be added again, with another end of the gate.
func (g *gate) passage(b *nft.Batch, h half, out int32) {
	// A packet is still alive here because no rule of the host's own firewall was
	// against it.
	input := nft.Chain{Table: h.table, Name: "host-input", Type: nft.Filter, Hook: nft.Input, Priority: lastAtInput}
	again := h.chain(gateChain)
	leave := nft.Chain{Table: h.table, Name: "gate-left", Type: nft.Filter, Hook: nft.Prerouting, Priority: lastAtPrerouting}
	for _, c := range []nft.Chain{input, again, leave} {
		b.AddChain(c)
		b.FlushChain(c)
	}
	b.AddRule(input, "its port was closed meanwhile", nft.Is(nft.IIFName, nft.Name(g.in)), nft.Drop())
	b.AddRule(input, "internal networks have no way out", h.in(internal, nft.IIFName), nft.Return())
	for _, port := range h.published() {
		b.AddRule(input, "published ports", nft.Any(nft.CtState, nft.NewState), localOnly(), port, nft.Goto(again.Name))
	}
	to := gateway4
	if h.six {
		to = gateway6
	}
	b.AddRule(again, "", nft.SetMark(g.mark), nft.Dup(to, uint32(out)), nft.Drop())
	b.AddRule(leave, "", nft.Is(nft.IIFName, nft.Name(g.in)), nft.SetMark(0))
}
