package firewall_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/network"
	"loper.run/test/env"
)

// forge sends a datagram with somebody else's address, and a byte in it.
func forge(t *testing.T, from *env.Netns, src, dst netip.AddrPort) {
	t.Helper()
	datagram := []byte{byte(src.Port() >> 8), byte(src.Port()), byte(dst.Port() >> 8), byte(dst.Port()), 0, 9, 0, 0, '?'}
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{}})
	head := []byte{0x45, 0, 0, byte(20 + len(datagram)), 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
	if dst.Addr().Is4() {
		to = &unix.SockaddrInet4{Addr: dst.Addr().As4()}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: dst.Addr().As16()}
		head = []byte{0x60, 0, 0, 0, 0, byte(len(datagram)), unix.IPPROTO_UDP, 64}
		sum := uint32(len(datagram) + unix.IPPROTO_UDP)
		all := append(append(src.Addr().AsSlice(), dst.Addr().AsSlice()...), append(datagram, 0)...)
		for i := 0; i < len(all); i += 2 {
			sum += uint32(all[i])<<8 | uint32(all[i+1])
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		datagram[6], datagram[7] = byte(^sum>>8), byte(^sum)
	}
	packet := append(append(append(head, src.Addr().AsSlice()...), dst.Addr().AsSlice()...), datagram...)
	from.Do(func() {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err == nil {
			err = unix.Sendto(fd, packet, 0, to)
			unix.Close(fd)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// hears tells whether a datagram comes to a port.
func (w *world) hears(ns *env.Netns, address string, port string, what func()) (ok bool) {
	w.Helper()
	var p net.PacketConn
	var err error
	ns.Do(func() { p, err = net.ListenPacket("udp", net.JoinHostPort(address, port)) })
	w.must(err)
	defer p.Close()
	what()
	p.SetDeadline(time.Now().Add(150 * time.Millisecond))
	_, _, err = p.ReadFrom(make([]byte, 10))
	return err == nil
}

// Nobody outside speaks as a container, neither to another one nor to the host, also where the kernel doesn't check
// senders, which for IPv6 it never does.
func TestForgedFromOutside(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"all", "up0"} {
		w.setting("ipv4/conf/"+name+"/rp_filter", "0")
	}
	asked := published("", 8001, 80, "udp")
	a := w.box(w.net(1, nil), asked)
	inner := w.box(w.net(2, func(e *network.Endpoint) { e.Internal = true }))
	lan := w.box(w.net(3, func(e *network.Endpoint) { e.Mode = "unmanaged" })) // where others have addresses too
	port := func(a string, n uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), n) }
	for i, own := range []string{a.v4(), a.v6()} {
		host, outside := []string{host4, host6}[i], []string{outside4, outside6}[i]
		for _, test := range []struct {
			from  string
			hears bool
		}{
			{outside, true}, {[]string{lan.v4(), lan.v6()}[i], true}, {own, false}, {[]string{inner.v4(), inner.v6()}[i], false},
		} {
			to := func(p uint16) func() {
				return func() { forge(t, w.outside, port(test.from, 5000+p%1000), port(host, p)) }
			}
			if got := w.hears(a.ns, own, "80", to(8001)); got != test.hears {
				t.Errorf("from %s to a published port: heard is %v", test.from, got)
			}
			if got := w.hears(w.host, host, "7000", to(7000)); got != test.hears {
				t.Errorf("from %s to the host: heard is %v", test.from, got)
			}
		}
	}
}

// A network that goes takes its subnets along, and leaves the others'.
func TestSubnetsGo(t *testing.T) {
	w := newWorld(t)
	one, two := w.net(1, nil), w.net(2, nil)
	w.box(one)
	w.box(one)
	w.box(two)
	for i, want := range []string{"10.90.1.0/24, 10.90.2.0/24", "10.90.2.0/24"} {
		if i > 0 {
			w.must(w.wall.RemoveNetwork(&network.Network{Driver: network.Bridge, ID: one.NetworkID, Interface: one.Link, Subnets: []network.Subnet{
				{Prefix: netip.MustParsePrefix("10.90.1.0/24")}, {Prefix: netip.MustParsePrefix("fd90:1::/64")},
			}}))
		}
		set4, set6 := w.nft("list", "set", "ip", firewallName(w), "subnets"), w.nft("list", "set", "ip6", firewallName(w), "subnets")
		set4, set6 = strings.Join(strings.Fields(set4), " "), strings.Join(strings.Fields(set6), " ")
		six := strings.NewReplacer("10.90.", "fd90:", ".0/24", "::/64").Replace(want)
		if !strings.Contains(set4, "{ "+want+" }") || !strings.Contains(set6, "{ "+six+" }") {
			t.Errorf("%s%s", set4, set6)
		}
	}
}

// Containers that their bridge keeps from each other can't take the way by the host.
func TestNoICCByTheHost(t *testing.T) {
	w := newWorld(t)
	for n, isolated := range []bool{false, true} {
		e := w.net(n+1, func(e *network.Endpoint) { e.NoICC, e.Isolated = true, isolated })
		a, b := w.box(e), w.box(e)
		for _, x := range []*box{a, b} {
			w.must(w.host.IP("link", "set", x.Endpoints[0].HostInterface, "type", "bridge_slave", "isolated", "on"))
		}
		w.must(a.ns.IP("route", "add", b.v4(), "via", e.Gateways[0].String()))
		w.must(a.ns.IP("-6", "route", "add", b.v6(), "via", e.Gateways[1].String()))
		w.serve(b.ns, 80, "here")
		for i, to := range []string{b.v4(), b.v6()} {
			w.expect("from the host", w.host, "tcp", to, 80, "here "+e.Gateways[i].String())
			if w.hears(b.ns, to, "81", func() { w.ask(a.ns, "udp", to, 81) }) {
				t.Errorf("%s hears its neighbour (isolated %v)", to, isolated)
			}
		}
	}
}
