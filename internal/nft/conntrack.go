package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Flow is a tracked connection: what its first packet was, before anything was
// translated, and who answers.
type Flow struct {
	Proto    byte // unix.IPPROTO_…
	From, To netip.Addr
	Port     uint16 // of To
	Answers  netip.Addr
}

// What linux/netfilter/nfnetlink_conntrack.h has and x/sys hasn't.
const (
	ctGet, ctDelete, ctStats = 1, 2, 5

	ctaOrig, ctaReply, ctaID, ctaZone, ctaFilter = 1, 2, 12, 18, 25

	ctaTupleIP, ctaTupleProto    = 1, 2
	ctaIPv4Src, ctaIPv4Dst       = 1, 2
	ctaIPv6Src, ctaIPv6Dst       = 3, 4
	ctaProtoNum, ctaProtoDstPort = 1, 3
	ctaFilterOrig                = 1
	ctaStatsEntries, ctaStatsMax = 1, 2
	filterProtoNum               = 1 << 3
)

func conntrack(kind uint16) uint16 { return unix.NFNL_SUBSYS_CTNETLINK<<8 | kind }

// Forget deletes those tracked connections of a protocol that are chosen, and
// returns how many there were. The next packet of each finds out anew what
// becomes of it. The kernel goes through its whole table, which takes it some
// milliseconds: choose all at once.
func (c *Conn) Forget(proto byte, choose func(Flow) bool) (int, error) {
	answers, err := c.flows(proto)
	if err != nil {
		return 0, fmt.Errorf("list tracked connections: %w", err)
	}
	deleted := 0
	for _, a := range answers {
		if len(a) < 4 {
			continue
		}
		f, which := parseFlow(a[4:])
		if f.Proto != proto || !choose(f) {
			continue
		}
		_, err := c.netlink.Do(conntrack(ctDelete), 0, append(header(Family(a[0]), 0), which...))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return deleted, fmt.Errorf("delete a tracked connection: %w", err)
		}
		deleted++
	}
	return deleted, nil
}

// flows lists the connections of a protocol. A short list is read as a whole: the
// kernel leaves out only from the list of one family, and goes twice through
// its table then.
func (c *Conn) flows(proto byte) ([][]byte, error) {
	now, _, err := c.Tracked()
	if err != nil || now == 0 {
		return nil, err
	}
	if now < 2000 {
		return c.netlink.Do(conntrack(ctGet), unix.NLM_F_DUMP, header(0, 0))
	}
	// Kernels before 5.8 list all protocols.
	filter := nest(nil, ctaOrig, nest(nil, ctaTupleProto, netlink.Append(nil, ctaProtoNum, []byte{proto})))
	filter = nest(filter, ctaFilter, netlink.AppendUint32(nil, ctaFilterOrig, filterProtoNum))
	four, err := c.netlink.Do(conntrack(ctGet), unix.NLM_F_DUMP, append(header(IP, 0), filter...))
	if err != nil {
		return nil, err
	}
	six, err := c.netlink.Do(conntrack(ctGet), unix.NLM_F_DUMP, append(header(IP6, 0), filter...))
	return append(four, six...), err
}

// parseFlow reads a connection, and what says to the kernel which one it is.
func parseFlow(attributes []byte) (f Flow, which []byte) {
	for kind, value := range netlink.Attributes(attributes) {
		switch kind {
		case ctaOrig:
			f.Proto, f.From, f.To, f.Port = parseTuple(value)
			which = nest(which, kind, value)
		case ctaReply:
			_, f.Answers, _, _ = parseTuple(value)
		case ctaID, ctaZone:
			which = netlink.Append(which, kind, value)
		}
	}
	return f, which
}

func parseTuple(a []byte) (proto byte, from, to netip.Addr, port uint16) {
	for kind, value := range netlink.Attributes(a) {
		for part, value := range netlink.Attributes(value) {
			switch {
			case kind == ctaTupleIP && (part == ctaIPv4Src || part == ctaIPv6Src):
				from, _ = netip.AddrFromSlice(value)
			case kind == ctaTupleIP && (part == ctaIPv4Dst || part == ctaIPv6Dst):
				to, _ = netip.AddrFromSlice(value)
			case kind == ctaTupleProto && part == ctaProtoNum && len(value) == 1:
				proto = value[0]
			case kind == ctaTupleProto && part == ctaProtoDstPort && len(value) == 2:
				port = binary.BigEndian.Uint16(value)
			}
		}
	}
	return proto, from, to, port
}

// Tracked returns how many connections are tracked, and how many can be; most is
// 0 if there is no limit, or none that is known.
func (c *Conn) Tracked() (now, most uint32, err error) {
	answers, err := c.netlink.Do(conntrack(ctStats), 0, header(0, 0))
	if err != nil {
		return 0, 0, fmt.Errorf("count tracked connections: %w", err)
	}
	for _, a := range answers {
		for kind, value := range netlink.Attributes(a[min(4, len(a)):]) {
			switch kind {
			case ctaStatsEntries:
				now = number(value)
			case ctaStatsMax:
				most = number(value)
			}
		}
	}
	return now, most, nil
}
