// Package nft changes the kernel's packet filter, nftables, without a program
// and without a library. Changes are collected in a Batch, which the kernel
// carries out as a whole or not at all:
//
//	table := nft.Table{Family: nft.Inet, Name: "example"}
//	input := nft.Chain{Table: table, Name: "input", Type: nft.Filter, Hook: nft.Input}
//	ports := nft.Set{Table: table, Name: "ports", Key: []nft.Type{nft.Proto, nft.Service}}
//
//	var b nft.Batch
//	b.AddTable(table)
//	b.AddChain(input)
//	b.AddSet(ports)
//	b.AddElements(ports, nft.Element{Key: nft.Key(nft.TCP, nft.Port(80))})
//	b.AddRule(input, "closed ports", nft.In(ports, nft.L4Proto, nft.DPort), nft.Drop())
//
//	c, err := nft.Open()
//	…
//	err = c.Commit(&b)
//
// An Expr is a part of a rule: a match, a statement or a verdict; they are
// evaluated in order until one doesn't match. Fields, like DPort, are what
// matches look at.
package nft

import (
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Conn is a conversation with the packet filter and the connection tracking of
// one network namespace. It is not for several goroutines at a time.
type Conn struct{ netlink *netlink.Conn }

// Open begins a conversation about the caller's network namespace.
func Open() (*Conn, error) { return conn(netlink.Dial(unix.NETLINK_NETFILTER)) }

// OpenIn begins a conversation about another network namespace.
func OpenIn(namespace *os.File) (*Conn, error) {
	return conn(netlink.DialIn(namespace, unix.NETLINK_NETFILTER))
}

// New begins a conversation with a NETLINK_NETFILTER socket that was made
// elsewhere, and owns it from then on.
func New(fd int) (*Conn, error) { return conn(netlink.New(fd)) }

func conn(c *netlink.Conn, err error) (*Conn, error) {
	if err != nil {
		return nil, socketError(err)
	}
	return &Conn{c}, nil
}

// Close ends the conversation, without waiting: for several milliseconds the
// kernel first forgets all that the namespace's last batches deleted.
func (c *Conn) Close() { go c.netlink.Close() }

// Commit has the kernel carry a batch out. The error is an *Error if the kernel
// refused; nothing has changed then.
func (c *Conn) Commit(b *Batch) error {
	if len(b.entries) == 0 {
		return nil
	}
	for attempt := 0; ; attempt++ {
		refused, err := c.send(header(0, unix.NFNL_SUBSYS_NFTABLES), b)
		switch {
		case err != nil:
			return err
		case len(refused) == 0:
			return nil
		case refused[0].Err.Errno == unix.ERESTART && attempt < 20:
			continue
		}
		return b.explain(refused[0])
	}
}

// send sends a batch behind its beginning.
func (c *Conn) send(begin []byte, b *Batch) ([]netlink.Refused, error) {
	messages := make([]netlink.Message, 0, len(b.entries)+2)
	messages = append(messages, netlink.Message{Kind: unix.NFNL_MSG_BATCH_BEGIN, Body: begin})
	for _, e := range b.entries {
		messages = append(messages, e.message)
	}
	messages = append(messages, netlink.Message{Kind: unix.NFNL_MSG_BATCH_END, Body: header(0, unix.NFNL_SUBSYS_NFTABLES)})
	return c.netlink.Batch(messages)
}

// header is struct nfgenmsg.
func header(family Family, resource uint16) []byte {
	return []byte{byte(family), unix.NFNETLINK_V0, byte(resource >> 8), byte(resource)}
}

// Family is a family of tables: which packets they see.
type Family uint8

// The families.
const (
	Inet   Family = unix.NFPROTO_INET // IPv4 and IPv6
	IP     Family = unix.NFPROTO_IPV4
	IP6    Family = unix.NFPROTO_IPV6
	ARP    Family = unix.NFPROTO_ARP
	Bridge Family = unix.NFPROTO_BRIDGE
	Netdev Family = unix.NFPROTO_NETDEV // a device's own, before and after all others
)

// String is the family's name in nft's language.
func (f Family) String() string {
	switch f {
	case Inet:
		return "inet"
	case IP:
		return "ip"
	case IP6:
		return "ip6"
	case ARP:
		return "arp"
	case Bridge:
		return "bridge"
	case Netdev:
		return "netdev"
	}
	return "unknown"
}
