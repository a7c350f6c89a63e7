package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Table is a set of chains and sets.
type Table struct {
	Family  Family
	Dormant bool // its chains see nothing
	Owned   bool // gone with the socket that made it, and closed to others
	Name    string
	Handle  uint64 // when listed: another one than of all tables before
	Use     uint32 // when listed: how many chains, sets and objects it has
}

// The types of chains.
const (
	Filter = "filter"
	NAT    = "nat"
	Route  = "route"
)

// Hook is a place on a packet's way.
type Hook uint32

// The hooks; Ingress and Egress are the Netdev family's.
const (
	Prerouting  Hook = unix.NF_INET_PRE_ROUTING
	Input       Hook = unix.NF_INET_LOCAL_IN
	Forward     Hook = unix.NF_INET_FORWARD
	Output      Hook = unix.NF_INET_LOCAL_OUT
	Postrouting Hook = unix.NF_INET_POST_ROUTING
	Ingress     Hook = unix.NF_NETDEV_INGRESS
	Egress      Hook = 1
)

// Chain is a list of rules.
type Chain struct {
	Table    Table
	Name     string
	Type     string // "": only what jumps here comes by
	Hook     Hook
	Priority int32
	Device   string // for the Netdev family
	Drop     bool   // what no rule decides about is dropped
	Handle   uint64 // when listed: its number in its table
}

// Batch is a list of changes. The zero value is an empty one. Adding what exists
// already changes nothing, except that a rule is added once more.
type Batch struct {
	entries []entry
	sets    uint32
}

type entry struct {
	message netlink.Message
	what    string // for people
	family  Family
}

// Empty tells that there is nothing to do.
func (b *Batch) Empty() bool { return len(b.entries) == 0 }

func (b *Batch) put(kind, flags uint16, t Table, what string, attributes []byte) {
	b.entries = append(b.entries, entry{
		message: netlink.Message{
			Kind:  unix.NFNL_SUBSYS_NFTABLES<<8 | kind,
			Flags: flags,
			Body:  append(header(t.Family, 0), attributes...),
		},
		what:   what,
		family: t.Family,
	})
}

// String is the table as nft names it.
func (t Table) String() string { return t.Family.String() + " " + t.Name }

// String is the chain as nft names it.
func (c Chain) String() string { return c.Table.String() + " " + c.Name }

// What linux/netfilter/nf_tables.h has and x/sys hasn't.
const (
	nfDrop            = 0
	nfAccept          = 1
	tableOwner        = 2
	tableHandle       = 4 // an attribute
	msgDestroyElement = 30
)

// AddTable adds a table.
func (b *Batch) AddTable(t Table) {
	a := netlink.AppendString(nil, unix.NFTA_TABLE_NAME, t.Name)
	flags := uint32(0)
	if t.Dormant {
		flags |= unix.NFT_TABLE_F_DORMANT
	}
	if t.Owned {
		flags |= tableOwner
	}
	a = append32(a, unix.NFTA_TABLE_FLAGS, flags)
	b.put(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, t, "add table "+t.String(), a)
}

// DeleteTable deletes a table with all that is in it.
func (b *Batch) DeleteTable(t Table) {
	b.put(unix.NFT_MSG_DELTABLE, 0, t, "delete table "+t.String(), netlink.AppendString(nil, unix.NFTA_TABLE_NAME, t.Name))
}

// AddChain adds a chain.
func (b *Batch) AddChain(c Chain) {
	a := netlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, c.Table.Name)
	a = netlink.AppendString(a, unix.NFTA_CHAIN_NAME, c.Name)
	if c.Type != "" {
		hook := append32(nil, unix.NFTA_HOOK_HOOKNUM, uint32(c.Hook))
		hook = append32(hook, unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))
		if c.Device != "" {
			hook = netlink.AppendString(hook, unix.NFTA_HOOK_DEV, c.Device)
		}
		a = nest(a, unix.NFTA_CHAIN_HOOK, hook)
		a = netlink.AppendString(a, unix.NFTA_CHAIN_TYPE, c.Type)
		policy := uint32(nfAccept)
		if c.Drop {
			policy = nfDrop
		}
		a = append32(a, unix.NFTA_CHAIN_POLICY, policy)
	}
	b.put(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, c.Table, "add chain "+c.String(), a)
}

// FlushChain deletes a chain's rules.
func (b *Batch) FlushChain(c Chain) {
	b.put(unix.NFT_MSG_DELRULE, 0, c.Table, "flush chain "+c.String(), c.name())
}

// DeleteChain deletes a chain without rules.
func (b *Batch) DeleteChain(c Chain) {
	a := netlink.AppendString(nil, unix.NFTA_CHAIN_TABLE, c.Table.Name)
	b.put(unix.NFT_MSG_DELCHAIN, 0, c.Table, "delete chain "+c.String(), netlink.AppendString(a, unix.NFTA_CHAIN_NAME, c.Name))
}

// name says in a rule's message which chain it is of.
func (c Chain) name() []byte {
	a := netlink.AppendString(nil, unix.NFTA_RULE_TABLE, c.Table.Name)
	if c.Name == "" {
		return a
	}
	return netlink.AppendString(a, unix.NFTA_RULE_CHAIN, c.Name)
}

// AddRule adds a rule at the end of a chain, with a comment that nft shows.
func (b *Batch) AddRule(c Chain, comment string, exprs ...Expr) {
	b.rule(c, unix.NLM_F_APPEND, "add", comment, exprs)
}

// Rules adds rules to one chain, each as AddRule does.
func (b *Batch) Rules(c Chain) func(comment string, exprs ...Expr) {
	return func(comment string, exprs ...Expr) { b.AddRule(c, comment, exprs...) }
}

// InsertRule adds a rule at the head of a chain.
func (b *Batch) InsertRule(c Chain, comment string, exprs ...Expr) {
	b.rule(c, 0, "insert", comment, exprs)
}

func (b *Batch) rule(c Chain, flags uint16, verb, comment string, exprs []Expr) {
	var list []byte
	for _, e := range exprs {
		list = append(list, e...)
	}
	a := nest(c.name(), unix.NFTA_RULE_EXPRESSIONS, list)
	what := verb + " rule to " + c.String()
	if comment != "" {
		a = netlink.Append(a, unix.NFTA_RULE_USERDATA, userData(comment))
		what += " (" + comment + ")"
	}
	b.put(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|flags, c.Table, what, a)
}

// DeleteRule deletes the rule that Rules listed with this handle.
func (b *Batch) DeleteRule(c Chain, handle uint64) {
	a := append64(c.name(), unix.NFTA_RULE_HANDLE, handle)
	b.put(unix.NFT_MSG_DELRULE, 0, c.Table, "delete a rule of "+c.String(), a)
}

// userData is a comment in the form that nft gives it.
func userData(comment string) []byte {
	comment = comment[:min(len(comment), 128)]
	return append(append([]byte{0, byte(len(comment) + 1)}, comment...), 0)
}

// comment reads what userData wrote.
func comment(data []byte) string {
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		value := data[2 : 2+int(data[1])]
		if data[0] == 0 && len(value) > 0 {
			return string(value[:len(value)-1])
		}
		data = data[2+len(value):]
	}
	return ""
}

// nftables' numbers are big-endian.
//
//go:noinline
func append32(a []byte, kind uint16, value uint32) []byte {
	return netlink.Append(a, kind, binary.BigEndian.AppendUint32(nil, value))
}

//go:noinline
func append64(a []byte, kind uint16, value uint64) []byte {
	return netlink.Append(a, kind, binary.BigEndian.AppendUint64(nil, value))
}

//go:noinline
func nest(a []byte, kind uint16, content []byte) []byte {
	return netlink.Append(a, kind|unix.NLA_F_NESTED, content)
}
