package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Flow selects tracked connections: by what their first packet was, before
// anything was translated, and by who answers. What has its zero value doesn't
// matter, but for Family and Proto.
type Flow struct {
	Family Family // IP or IP6
	Proto  byte   // unix.IPPROTO_…
	To     netip.Addr
	Port   uint16     // of To
	From   netip.Addr // who answers
}

// What linux/netfilter/nfnetlink_conntrack.h has and x/sys hasn't.
const (
	ctGet, ctDelete, ctStats = 1, 2, 5

	ctaOrig, ctaReply, ctaID, ctaZone, ctaFilter = 1, 2, 12, 18, 25

	ctaTupleIP, ctaTupleProto                = 1, 2
	ctaIPv4Src, ctaIPv4Dst                   = 1, 2
	ctaIPv6Src, ctaIPv6Dst                   = 3, 4
	ctaProtoNum, ctaProtoSrcPort, ctaDstPort = 1, 2, 3
	ctaFilterOrig, ctaFilterReply            = 1, 2
	ctaStatsEntries, ctaStatsMax             = 1, 2
	filterIPSrc, filterIPDst                 = 1 << 0, 1 << 1
	filterProtoNum, filterDstPort            = 1 << 3, 1 << 5
)

func conntrack(kind uint16) uint16 { return unix.NFNL_SUBSYS_CTNETLINK<<8 | kind }

// Forget deletes the tracked connections of a kind, and returns how many there
// were. The next packet of each finds out anew what becomes of it.
func (c *Conn) Forget(f Flow) (int, error) {
	answers, err := c.netlink.Do(conntrack(ctGet), unix.NLM_F_DUMP, append(header(f.Family, 0), f.filter()...))
	if err != nil {
		return 0, fmt.Errorf("list tracked connections: %w", err)
	}
	deleted := 0
	for _, a := range answers {
		if len(a) < 4 || !f.matches(a[4:]) { // old kernels list all
			continue
		}
		var which []byte
		for kind, value := range netlink.Attributes(a[4:]) {
			if kind == ctaOrig || kind == ctaID || kind == ctaZone {
				which = netlink.Append(which, kind|nested(kind == ctaOrig), value)
			}
		}
		_, err := c.netlink.Do(conntrack(ctDelete), 0, append(header(f.Family, 0), which...))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return deleted, fmt.Errorf("delete a tracked connection: %w", err)
		}
		deleted++
	}
	return deleted, nil
}

func nested(yes bool) uint16 {
	if yes {
		return unix.NLA_F_NESTED
	}
	return 0
}

// filter is what newer kernels (5.8) need to list only what is looked for.
func (f Flow) filter() []byte {
	src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if f.Family == IP6 {
		src, dst = ctaIPv6Src, ctaIPv6Dst
	}
	proto := netlink.Append(nil, ctaProtoNum, []byte{f.Proto})
	flags := uint32(filterProtoNum)
	if f.Port != 0 {
		proto = netlink.Append(proto, ctaDstPort, Port(f.Port))
		flags |= filterDstPort
	}
	var address []byte
	if f.To.IsValid() {
		address = netlink.Append(nil, dst, Addr(f.To))
		flags |= filterIPDst
	}
	a := nest(nil, ctaOrig, nest(nest(nil, ctaTupleIP, address), ctaTupleProto, proto))
	filter := netlink.AppendUint32(nil, ctaFilterOrig, flags)
	if f.From.IsValid() {
		address := netlink.Append(nil, src, Addr(f.From))
		a = nest(a, ctaReply, nest(nil, ctaTupleIP, address))
		filter = netlink.AppendUint32(filter, ctaFilterReply, filterIPSrc)
	}
	return nest(a, ctaFilter, filter)
}

// tuple is one direction of a connection.
type tuple struct {
	src, dst netip.Addr
	proto    byte
	port     uint16 // of dst
}

func (f Flow) matches(connection []byte) bool {
	var orig, reply tuple
	for kind, value := range netlink.Attributes(connection) {
		switch kind {
		case ctaOrig:
			orig = parseTuple(value)
		case ctaReply:
			reply = parseTuple(value)
		}
	}
	return orig.proto == f.Proto && (f.Port == 0 || orig.port == f.Port) &&
		(!f.To.IsValid() || orig.dst == f.To) && (!f.From.IsValid() || reply.src == f.From)
}

func parseTuple(a []byte) (t tuple) {
	for kind, value := range netlink.Attributes(a) {
		for part, value := range netlink.Attributes(value) {
			switch {
			case kind == ctaTupleIP && (part == ctaIPv4Src || part == ctaIPv6Src):
				t.src, _ = netip.AddrFromSlice(value)
			case kind == ctaTupleIP && (part == ctaIPv4Dst || part == ctaIPv6Dst):
				t.dst, _ = netip.AddrFromSlice(value)
			case kind == ctaTupleProto && part == ctaProtoNum && len(value) == 1:
				t.proto = value[0]
			case kind == ctaTupleProto && part == ctaDstPort && len(value) == 2:
				t.port = binary.BigEndian.Uint16(value)
			}
		}
	}
	return t
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
