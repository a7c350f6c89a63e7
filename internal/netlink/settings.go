package netlink

import (
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Settings are those of an interface that is made or changed; what has its zero
// value stays as it is.
type Settings struct {
	Index     int32  // the one to change; 0: by its name
	Name      string // beside an index: a new one, of an interface that is down
	Address   []byte // of the link layer
	MTU       int
	Master    int32 // becomes a port of this bridge
	Parent    int32 // of a macvlan, ipvlan or vlan
	Group     uint32
	Alias     string
	Namespace *os.File // where it is made
	Up, Down  bool
	NoARP     bool // every neighbour has the interface's own address of link layer
	// IPv4 are settings of one interface of /proc/sys/net/ipv4/conf by their
	// numbers, IPV4_DEVCONF_…. Only for one that is there already.
	IPv4 map[uint16]uint32
	// NoLinkLocal keeps the kernel from choosing an IPv6 address. Only for one
	// that is there already, before it is set up by another message.
	NoLinkLocal bool
}

// IPV4_DEVCONF_… of linux/ip.h.
const (
	IPv4Forwarding    = 1
	IPv4RPFilter      = 8
	IPv4RouteLocalnet = 26
)

// genModeNone is IN6_ADDR_GEN_MODE_NONE.
const genModeNone = 1

// message is struct ifinfomsg and its attributes.
func (s Settings) message() []byte {
	var flags, change uint32
	if s.Up {
		flags = unix.IFF_UP
	}
	if s.Up || s.Down {
		change = unix.IFF_UP
	}
	if s.NoARP {
		flags |= unix.IFF_NOARP
		change |= unix.IFF_NOARP
	}
	m := linkMessage(s.Index, flags, change)
	if s.Name != "" {
		m = AppendString(m, unix.IFLA_IFNAME, s.Name)
	}
	if len(s.Address) > 0 {
		m = Append(m, unix.IFLA_ADDRESS, s.Address)
	}
	for _, n := range []struct {
		kind  uint16
		value uint32
	}{{unix.IFLA_MTU, uint32(s.MTU)}, {unix.IFLA_MASTER, uint32(s.Master)}, {unix.IFLA_LINK, uint32(s.Parent)}, {unix.IFLA_GROUP, s.Group}} {
		if n.value != 0 {
			m = AppendUint32(m, n.kind, n.value)
		}
	}
	if s.Alias != "" {
		m = Append(m, unix.IFLA_IFALIAS, []byte(s.Alias))
	}
	if s.Namespace != nil {
		m = AppendUint32(m, unix.IFLA_NET_NS_FD, uint32(s.Namespace.Fd()))
	}
	return s.families(m)
}

// families adds what belongs to IPv4 and IPv6.
func (s Settings) families(m []byte) []byte {
	if len(s.IPv4) == 0 && !s.NoLinkLocal {
		return m
	}
	return Nest(m, unix.IFLA_AF_SPEC, func(m []byte) []byte {
		if len(s.IPv4) > 0 {
			m = Nest(m, unix.AF_INET, func(m []byte) []byte {
				return Nest(m, unix.IFLA_INET_CONF, func(m []byte) []byte {
					for kind, value := range s.IPv4 {
						m = AppendUint32(m, kind, value)
					}
					return m
				})
			})
		}
		if s.NoLinkLocal {
			m = Nest(m, unix.AF_INET6, func(m []byte) []byte {
				return Append(m, unix.IFLA_INET6_ADDR_GEN_MODE, []byte{genModeNone})
			})
		}
		return m
	})
}

// Set changes an interface.
func Set(s Settings) Request {
	what := "change the interface " + s.Name
	if s.Name == "" {
		what += strconv.Itoa(int(s.Index))
	}
	return Request{Message: Message{Kind: unix.RTM_NEWLINK, Body: s.message()}, What: what}
}

// Delete deletes an interface, and with a veth the other end.
func Delete(name string) Request {
	return Request{Message: Message{Kind: unix.RTM_DELLINK, Body: AppendString(linkMessage(0, 0, 0), unix.IFLA_IFNAME, name)},
		What: "delete the interface " + name}
}

// create makes an interface of a kind.
func create(s Settings, kind string, data func([]byte) []byte) Request {
	m := Nest(s.message(), unix.IFLA_LINKINFO, func(m []byte) []byte {
		m = AppendString(m, unix.IFLA_INFO_KIND, kind)
		if data == nil {
			return m
		}
		return Nest(m, unix.IFLA_INFO_DATA, data)
	})
	return Request{Message: Message{Kind: unix.RTM_NEWLINK, Flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL, Body: m},
		What: "make the " + kind + " interface " + s.Name}
}

// vethPeer is VETH_INFO_PEER of linux/veth.h.
const vethPeer = 1

// Veth makes both ends of a cable. They are set up afterwards: older kernels
// cannot while they make them.
func Veth(s, peer Settings) Request {
	return create(s, "veth", func(m []byte) []byte {
		return Nest(m, vethPeer, func(m []byte) []byte { return append(m, peer.message()...) })
	})
}

// BridgeOptions are those of a bridge.
type BridgeOptions struct {
	VLAN uint16 // filters by VLANs, and every port is an untagged one of this
}

// Bridge makes a bridge that speaks no spanning tree protocol and forwards at
// once.
func Bridge(s Settings, o BridgeOptions) Request {
	return create(s, "bridge", func(m []byte) []byte {
		m = AppendUint32(m, unix.IFLA_BR_STP_STATE, 0)
		m = AppendUint32(m, unix.IFLA_BR_FORWARD_DELAY, 0)
		if o.VLAN == 0 {
			return m
		}
		m = Append(m, unix.IFLA_BR_VLAN_FILTERING, []byte{1})
		return Append(m, unix.IFLA_BR_VLAN_DEFAULT_PVID, binary.NativeEndian.AppendUint16(nil, o.VLAN))
	})
}

// IFLA_BRPORT_… of linux/if_link.h.
const (
	brportMode     = 4
	brportIsolated = 33
)

// Hairpin lets a bridge send frames back to the port that they came from.
func Hairpin(port string) Request {
	return bridgePort(port, brportMode, "let the bridge send back to "+port)
}

// Isolate keeps a bridge's port from the others that are isolated.
func Isolate(port string) Request {
	return bridgePort(port, brportIsolated, "keep "+port+" from other ports of its bridge")
}

// bridgePort turns a setting of a bridge's port on.
func bridgePort(port string, setting uint16, what string) Request {
	m := Nest(linkMessage(0, 0, 0), unix.IFLA_LINKINFO, func(m []byte) []byte {
		m = AppendString(m, unix.IFLA_INFO_SLAVE_KIND, "bridge")
		return Nest(m, unix.IFLA_INFO_SLAVE_DATA, func(m []byte) []byte { return Append(m, setting, []byte{1}) })
	})
	return Request{Message: Message{Kind: unix.RTM_NEWLINK, Body: AppendString(m, unix.IFLA_IFNAME, port)}, What: what}
}

// Macvlan makes an interface with an address of its own on its parent's wire. A
// mode is MACVLAN_MODE_….
func Macvlan(s Settings, mode uint32) Request {
	return create(s, "macvlan", func(m []byte) []byte { return AppendUint32(m, unix.IFLA_MACVLAN_MODE, mode) })
}

// Ipvlan makes an interface that shares its parent's link-layer address. A mode
// is IPVLAN_MODE_….
func Ipvlan(s Settings, mode uint16) Request {
	return create(s, "ipvlan", func(m []byte) []byte {
		return Append(m, unix.IFLA_IPVLAN_MODE, binary.NativeEndian.AppendUint16(nil, mode))
	})
}

// VLAN makes an interface of one 802.1Q VLAN of its parent.
func VLAN(s Settings, id uint16) Request {
	return create(s, "vlan", func(m []byte) []byte {
		return Append(m, unix.IFLA_VLAN_ID, binary.NativeEndian.AppendUint16(nil, id))
	})
}

// Simple makes an interface of a kind that has no options, as ifb and dummy.
func Simple(s Settings, kind string) Request { return create(s, kind, nil) }
