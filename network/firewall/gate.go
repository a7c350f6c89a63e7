package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
	"loper.run/internal/netns"
)

// A gate is a cable with both ends in the host. The first packet for a published
// port goes to the host itself, whose firewall decides about it like about any
// other; a packet that is still alive at the very end of the input hook is put
// into the one end, and comes out of the other as one that is let in.
type gate struct {
	out, in string // the ends
	// mark is what a packet has on its way through. Who asks the routing tables,
	// before it is routed, whether its sender may be behind the end that it comes
	// out of is sent to a table of this number, in which everybody is.
	mark uint32
}

// gateOf is the gate of a table of ours.
func gateOf(table string) gate {
	if table == "loper" {
		return gate{"lgate-out", "lgate-in", 0x6c6f7065}
	}
	h := fnv.New32a()
	h.Write([]byte(table))
	sum := h.Sum32()
	return gate{fmt.Sprintf("lgo-%08x", sum), fmt.Sprintf("lgi-%08x", sum), 0x6c<<24 | sum&0xffffff}
}

// gateway4 and gateway6 are where a packet for the gate is sent. Nobody has these
// addresses, and nobody is asked for them: one is of the host's loopback, the
// other of the range for what is to be discarded (RFC 6666).
func (g *gate) gateway4() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(g.mark >> 16), byte(g.mark >> 8), byte(g.mark)})
}

func (g *gate) gateway6() netip.Addr {
	a := [16]byte{0: 1}
	binary.BigEndian.PutUint32(a[12:], g.mark)
	return netip.AddrFrom16(a)
}

// gateAddress is for the end that packets come out of: the kernel checks senders
// loosely only on an interface with an address.
var gateAddress = netip.PrefixFrom(netip.AddrFrom4([4]byte{127, 114, 117, 110}), 32)

const (
	gateMTU      = 65535
	rulePriority = 32700 // before the main table
)

// isOpen reports whether the gate is, which says that all of it and the rules
// that name its end were made.
func (g *gate) isOpen(c *netlink.Conn) (bool, error) {
	out, err := c.Link(g.out)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return out.Up, err
}

// make makes what is missing of the gate. The end that packets are put into stays
// down until open. A host without IPv6 has a gate without.
func (g *gate) make(c *netlink.Conn, namespace *os.File) error {
	// Both ends have one address of link layer, so that nobody has to be asked
	// whose it is.
	address := binary.BigEndian.AppendUint32([]byte{0x02, 0}, g.mark)
	err := c.Ask([]netlink.Request{
		netlink.Veth(netlink.Settings{Name: g.out, MTU: gateMTU, Address: address, NoARP: true},
			netlink.Settings{Name: g.in, MTU: gateMTU, Address: address, NoARP: true}).Or(unix.EEXIST),
		netlink.Set(netlink.Settings{Name: g.out, NoLinkLocal: true}).Or(unix.EAFNOSUPPORT),
		netlink.Set(netlink.Settings{Name: g.in, NoLinkLocal: true}).Or(unix.EAFNOSUPPORT),
		netlink.Set(netlink.Settings{Name: g.in, IPv4: map[uint16]uint32{netlink.IPv4RPFilter: 2, netlink.IPv4Forwarding: 1}}),
		netlink.Set(netlink.Settings{Name: g.in, Up: true}),
	})
	if err != nil {
		return err
	}
	in, err := c.Link(g.in)
	if err != nil {
		return err
	}
	if err := enableIPv6(namespace, g.out, g.in); err != nil {
		return err
	}
	everybody4, everybody6 := netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	return c.Ask([]netlink.Request{
		netlink.NewAddress(in.Index, netlink.Address{Prefix: gateAddress, Scope: unix.RT_SCOPE_HOST}).Or(unix.EEXIST),
		netlink.NewRoute(netlink.Route{To: everybody4, Index: in.Index, Table: g.mark}),
		netlink.NewRoute(netlink.Route{To: everybody6, Index: in.Index, Table: g.mark}).Or(no6...),
		netlink.NewRule(g.rule(unix.AF_INET)).Or(unix.EEXIST),
		netlink.NewRule(g.rule(unix.AF_INET6)).Or(unix.EEXIST, unix.EAFNOSUPPORT, unix.EOPNOTSUPP),
	})
}

// no6 is what the kernel answers where there is no IPv6.
var no6 = []unix.Errno{unix.EAFNOSUPPORT, unix.EOPNOTSUPP, unix.EACCES, unix.ENODEV, unix.EINVAL}

// open lets packets through.
func (g *gate) open(c *netlink.Conn) error {
	out, err := c.Link(g.out)
	if err != nil {
		return err
	}
	to := func(a netip.Addr) netlink.Request {
		return netlink.NewRoute(netlink.Route{To: netip.PrefixFrom(a, a.BitLen()), Index: out.Index, Table: unix.RT_TABLE_LOCAL})
	}
	return c.Ask([]netlink.Request{
		netlink.Set(netlink.Settings{Index: out.Index, Up: true}),
		to(g.gateway4()),
		to(g.gateway6()).Or(no6...),
	})
}

func (g *gate) rule(family uint8) netlink.Rule {
	return netlink.Rule{Family: family, Priority: rulePriority, Mark: g.mark, Table: g.mark}
}

// close takes the gate away. Its routes go with its ends.
func (g *gate) close(c *netlink.Conn) error {
	return c.Ask([]netlink.Request{
		netlink.DeleteRule(g.rule(unix.AF_INET)).Or(unix.ENOENT),
		netlink.DeleteRule(g.rule(unix.AF_INET6)).Or(unix.ENOENT, unix.EAFNOSUPPORT, unix.EOPNOTSUPP),
		netlink.Delete(g.out).Or(unix.ENODEV),
	})
}

// enableIPv6 has interfaces speak IPv6 where new ones don't.
func enableIPv6(namespace *os.File, names ...string) error {
	wants := make([]netns.Want, len(names))
	for i, name := range names {
		wants[i].Setting = "ipv6/conf/" + name + "/disable_ipv6"
	}
	fds, err := netns.Open(namespace, wants...)
	if err != nil {
		return err
	}
	for _, fd := range fds {
		if fd < 0 {
			continue
		}
		if _, werr := unix.Write(fd, []byte("0")); werr != nil && err == nil {
			err = os.NewSyscallError("enable IPv6 at the gate", werr)
		}
		unix.Close(fd)
	}
	return err
}
