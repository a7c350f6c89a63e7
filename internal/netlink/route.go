package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Route is a way to addresses.
type Route struct {
	To      netip.Prefix // of bits 0: the default
	Gateway netip.Addr   // invalid: on the wire itself
	Index   int32        // of the interface; 0 of one with several ways
	Table   uint32       // RT_TABLE_…; 0 of one to add: main
	Type    uint8        // RTN_…; 0 of one to add: unicast
	Metric  uint32
	// Protocol is who added it, RTPROT_…; 0 of one to add: boot.
	Protocol uint8
}

func (r Route) body() []byte {
	family, scope := uint8(unix.AF_INET6), uint8(unix.RT_SCOPE_UNIVERSE)
	if r.To.Addr().Is4() {
		family = unix.AF_INET
		if !r.Gateway.IsValid() {
			scope = unix.RT_SCOPE_LINK
		}
	}
	switch r.Type {
	case 0:
		r.Type = unix.RTN_UNICAST
	case unix.RTN_LOCAL:
		scope = unix.RT_SCOPE_HOST
	}
	if r.Protocol == 0 {
		r.Protocol = unix.RTPROT_BOOT
	}
	m := make([]byte, unix.SizeofRtMsg, 96)
	m[0], m[1], m[4], m[5], m[6], m[7] = family, uint8(r.To.Bits()), unix.RT_TABLE_MAIN, r.Protocol, scope, r.Type
	if r.Table != 0 {
		m = AppendUint32(m, unix.RTA_TABLE, r.Table)
	}
	if r.To.Bits() > 0 {
		m = Append(m, unix.RTA_DST, r.To.Masked().Addr().AsSlice())
	}
	if r.Gateway.IsValid() {
		m = Append(m, unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	if r.Index != 0 {
		m = AppendUint32(m, unix.RTA_OIF, uint32(r.Index))
	}
	if r.Metric != 0 {
		m = AppendUint32(m, unix.RTA_PRIORITY, r.Metric)
	}
	return m
}

// NewRoute adds a route, or takes the place of one with the same destination
// and metric.
func NewRoute(r Route) Request {
	what := fmt.Sprintf("add a route to %s", r.To)
	if r.Gateway.IsValid() {
		what += " by " + r.Gateway.String()
	}
	return Request{Message: Message{Kind: unix.RTM_NEWROUTE, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: r.body()}, What: what}
}

// DeleteRoute takes a route away.
func DeleteRoute(r Route) Request {
	return Request{Message: Message{Kind: unix.RTM_DELROUTE, Body: r.body()}, What: fmt.Sprintf("delete the route to %s", r.To)}
}

// Routes lists the routes of both families, of all tables.
func (c *Conn) Routes() ([]Route, error) {
	answers, err := c.Do(unix.RTM_GETROUTE, unix.NLM_F_DUMP, make([]byte, unix.SizeofRtMsg))
	if err != nil {
		return nil, err
	}
	var list []Route
	for _, a := range answers {
		if r, ok := parseRoute(a); ok {
			list = append(list, r)
		}
	}
	return list, nil
}

func parseRoute(a []byte) (Route, bool) {
	if len(a) < unix.SizeofRtMsg {
		return Route{}, false
	}
	to := netip.IPv4Unspecified()
	switch a[0] {
	case unix.AF_INET:
	case unix.AF_INET6:
		to = netip.IPv6Unspecified()
	default: // of multicast routers
		return Route{}, false
	}
	r := Route{Table: uint32(a[4]), Protocol: a[5], Type: a[7]}
	for kind, value := range Attributes(a[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.Index = int32(number(value))
		case unix.RTA_TABLE:
			r.Table = number(value)
		case unix.RTA_PRIORITY:
			r.Metric = number(value)
		}
	}
	r.To = netip.PrefixFrom(to, int(a[1]))
	return r, r.To.IsValid()
}

// Neighbour tells whose link-layer address an address on the wire of an
// interface is, in place of what was known. As what was learned it is asked for
// again when it is old.
func Neighbour(index int32, address netip.Addr, mac []byte) Request {
	family := uint8(unix.AF_INET6)
	if address.Is4() {
		family = unix.AF_INET
	}
	m := make([]byte, unix.SizeofNdMsg, 64)
	m[0] = family
	binary.NativeEndian.PutUint32(m[4:], uint32(index))
	binary.NativeEndian.PutUint16(m[8:], unix.NUD_REACHABLE)
	m = Append(m, unix.NDA_DST, address.AsSlice())
	m = Append(m, unix.NDA_LLADDR, mac)
	return Request{Message: Message{Kind: unix.RTM_NEWNEIGH, Flags: unix.NLM_F_CREATE | unix.NLM_F_REPLACE, Body: m},
		What: fmt.Sprintf("tell the neighbour %s", address)}
}

// Forwarding asks whether packets of a family, AF_INET or AF_INET6, are routed
// at all.
func Forwarding(family uint8) Request {
	const all = -1 // NETCONFA_IFINDEX_ALL
	index := int32(all)
	m := AppendUint32([]byte{family, 0, 0, 0}, netconfIndex, uint32(index))
	return Request{Message: Message{Kind: unix.RTM_GETNETCONF, Body: m}, What: "ask whether packets are forwarded"}
}

// NETCONFA_… of linux/netconf.h.
const (
	netconfIndex      = 1
	netconfForwarding = 2
)

// Forwards is the answer to Forwarding.
func (r *Request) Forwards() bool {
	for _, a := range r.Answers {
		if len(a) < 4 {
			continue
		}
		for kind, value := range Attributes(a[4:]) {
			if kind == netconfForwarding {
				return number(value) != 0
			}
		}
	}
	return false
}

// RouteTo asks which way packets to an address go; Routed of the answered
// request tells.
func RouteTo(address netip.Addr) Request {
	m := Route{To: netip.PrefixFrom(address, address.BitLen())}.body()
	m[4], m[5], m[6], m[7] = 0, 0, 0, 0 // only the destination may be given
	return Request{Message: Message{Kind: unix.RTM_GETROUTE, Body: m}, What: "find the route to " + address.String()}
}

// Routed is the answer to RouteTo.
func (r *Request) Routed() (Route, bool) {
	if r.Err != nil || len(r.Answers) != 1 {
		return Route{}, false
	}
	return parseRoute(r.Answers[0])
}
