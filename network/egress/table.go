package egress

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/nft"
)

// The table is in the container's own namespace, where nothing of the container
// may change it: it has no capability for that.
var (
	table  = nft.Table{Family: nft.Inet, Name: "loper-egress"}
	output = nft.Chain{Table: table, Name: "output", Type: nft.Filter, Hook: nft.Output, Drop: true}
	// refused is where everything ends that no rule is for.
	refused = nft.Chain{Table: table, Name: "refused"}
)

// setOf holds what the name of a rule stands for at the moment, in one family.
func setOf(number int, family nft.Family) nft.Set {
	key := nft.IPv4Addr
	if family == nft.IP6 {
		key = nft.IPv6Addr
	}
	return nft.Set{Table: table, Name: fmt.Sprintf("rule%d-%s", number, family), Key: []nft.Type{key}, Timeouts: true, Size: maxAddresses}
}

// maxAddresses is how many addresses a rule's names may have at a time. Who has
// a zone can give a name all that there are, and they take the kernel's memory.
const maxAddresses = 8192

// LogGroup is the group of NFLOG that refused packets are told to.
const LogGroup = 7

// Install makes the table in the namespace of the conversation. With log,
// refused packets are also told to who listens to LogGroup there.
func (r *Rules) Install(c *nft.Conn, log bool) error {
	var b nft.Batch
	b.AddTable(table)
	b.DeleteTable(table)
	b.AddTable(table)
	b.AddChain(output)
	b.AddChain(refused)
	// The resolver listens on the loopback interface, and so may the container.
	b.AddRule(output, "", nft.Is(nft.OIFName, nft.Name("lo")), nft.Accept())
	b.AddRule(output, "", nft.Any(nft.CtState, nft.Established|nft.Related), nft.Accept())
	neighbours(&b)
	for i := range r.list {
		r.install(&b, i)
	}
	b.AddRule(output, "", nft.Goto(refused.Name))
	// Who listens to which group of the link is nobody's way out, and not worth a word.
	b.AddRule(refused, "", nft.Is(nft.NFProto, []byte{byte(nft.IP6)}), nft.Masked(nft.DAddr6, mask(linkGroups), nft.Addr(linkGroups.Addr())), nft.Drop())
	if log {
		b.AddRule(refused, "", nft.Limit(10, time.Second, 50), nft.LogGroup(LogGroup, "", 64))
	}
	// Who is refused learns it at once, and doesn't wait for an answer.
	b.AddRule(refused, "", nft.Is(nft.L4Proto, nft.TCP), nft.Reset())
	b.AddRule(refused, "", nft.Reject(nft.Inet))
	if err := c.Commit(&b); err != nil {
		return fmt.Errorf("rules for egress: %w", err)
	}
	return nil
}

// linkGroups are the groups whose packets stay on the link.
var linkGroups = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff, 0x02}), 16)

// neighbours lets IPv6 find who has an address on the link, which IPv4 does
// below all rules. The hop limit says that it comes from no farther.
func neighbours(b *nft.Batch) {
	for _, kind := range []byte{135, 136} { // neighbour solicitation and advertisement
		b.AddRule(output, "", nft.Is(nft.L4Proto, []byte{unix.IPPROTO_ICMPV6}), nft.Is(nft.Hops6, []byte{255}), nft.Is(nft.ICMPType, []byte{kind}), nft.Accept())
	}
}

// install adds what one rule allows: a network, or the set of a name's addresses.
func (r *Rules) install(b *nft.Batch, number int) {
	one := &r.list[number]
	for family, address := range map[nft.Family]nft.Field{nft.IP: nft.DAddr4, nft.IP6: nft.DAddr6} {
		where := nft.Is(nft.NFProto, []byte{byte(family)})
		switch {
		case one.name != "":
			set := setOf(number, family)
			b.AddSet(set)
			where = append(where, nft.In(set, address)...)
		case one.network.Addr().Is6() != (family == nft.IP6):
			continue
		case one.network.Bits() > 0:
			where = append(where, nft.Masked(address, mask(one.network), nft.Addr(one.network.Addr()))...)
		}
		for _, protocol := range one.protocols() {
			if protocol == 0 {
				b.AddRule(output, "", where, nft.Accept())
				continue
			}
			b.AddRule(output, "", where, nft.Is(nft.L4Proto, []byte{protocol}), nft.Between(nft.DPort, nft.Port(one.from), nft.Port(one.to)), nft.Accept())
		}
	}
}

// protocols are those whose ports are meant; 0 alone: everything.
func (r *rule) protocols() []uint8 {
	switch {
	case r.from == 0:
		return []uint8{0}
	case r.protocol != 0:
		return []uint8{r.protocol}
	}
	return []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP}
}

func mask(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// How long an address stays that a name had: programs keep it a while, and some
// zones say that it is good for no time at all.
const (
	leastLifetime = time.Minute
	mostLifetime  = 24 * time.Hour
)

// Learn lets the container reach an address that its resolver is about to give
// for a name, as far as the rules allow that name, for the answer's lifetime.
func (r *Rules) Learn(c *nft.Conn, name string, address netip.Addr, lifetime time.Duration) error {
	address = address.Unmap()
	if Special(address) {
		return nil
	}
	family := nft.IP
	if address.Is6() {
		family = nft.IP6
	}
	e := nft.Element{Key: nft.Addr(address), Timeout: min(max(lifetime, leastLifetime), mostLifetime)}
	var b nft.Batch
	for i := range r.list {
		if r.list[i].matches(name) {
			renew(&b, setOf(i, family), e)
		}
	}
	return c.Commit(&b)
}

// renew puts an element into a set, or gives it a new time: adding what is there
// would leave it its old one.
func renew(b *nft.Batch, s nft.Set, e nft.Element) {
	b.AddElements(s, e)
	b.DeleteElements(s, e)
	b.AddElements(s, e)
}
