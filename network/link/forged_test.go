package link_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"loper.run/network"
	"loper.run/network/firewall"
	"loper.run/test/env"

	"golang.org/x/sys/unix"
)

// frame is what is sent as it is.
type frame struct {
	dst, src []byte
	kind     uint16
	body     []byte
}

func (f frame) bytes() []byte {
	b := append(append([]byte{}, f.dst...), f.src...)
	return append(binary.BigEndian.AppendUint16(b, f.kind), f.body...)
}

// seen are the bytes that a socket sees of it: the kernel tells a VLAN's number
// beside them.
func (f frame) seen() []byte {
	b := f.bytes()
	if f.kind == unix.ETH_P_8021Q {
		return append(b[:12], b[16:]...)
	}
	return b
}

// packets opens a socket that sends and sees frames of an interface.
func packets(t *testing.T, n *env.Netns, name string) int {
	t.Helper()
	fd := -1
	n.Do(func() {
		var err error
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			t.Error(err)
			return
		}
		l, err := linkOf(n, name)
		if err != nil {
			t.Error(err)
			return
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l}); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { unix.Close(fd) })
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000})
	return fd
}

// arrives tells whether a frame is seen.
func arrives(fd int, f frame, within time.Duration) bool {
	buffer := make([]byte, 4096)
	for start := time.Now(); time.Since(start) < within; {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if err == nil && bytes.HasPrefix(buffer[:n], f.seen()) {
			return true
		}
	}
	return false
}

// drain forgets what was seen.
func drain(fd int) {
	for {
		if _, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

func addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func sum(parts ...[]byte) uint16 {
	var n uint32
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	for i := 0; i < len(all); i += 2 {
		n += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

func arpFrom(mac []byte, ip string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2} // a reply
	b = append(append(b, mac...), addr(ip)...)
	return append(append(b, 2, 0, 0, 0, 0, 3), addr("10.89.0.3")...)
}

func ip4From(src string, proto byte, payload []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	h = append(append(h, addr(src)...), addr("10.89.0.3")...)
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, payload...)
}

func udp(from, to uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

func ip6From(src, dst string, next byte, payload []byte) []byte {
	h := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, 255}
	h = append(append(h, addr(src)...), addr(dst)...)
	if next == unix.IPPROTO_ICMPV6 {
		pseudo := append(append([]byte{}, h[8:40]...), 0, 0, byte(len(payload)>>8), byte(len(payload)), 0, 0, 0, next)
		binary.BigEndian.PutUint16(payload[2:], 0)
		binary.BigEndian.PutUint16(payload[2:], sum(pseudo, payload))
	}
	return append(h, payload...)
}

// routerAdvertisement offers a way out and a prefix.
var routerAdvertisement = append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0},
	3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

// Neither the host nor a neighbour believes a container that says it is a
// router, also if nobody stops it (CVE-2020-13401).
func TestRouterAdvertisement(t *testing.T) {
	h := host(t)
	inA, inB := connect(t, sandbox(2)), connect(t, sandbox(3))
	must(t, h, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
	from := packets(t, inA, "eth0")
	advertise := func() {
		f := frame{[]byte{0x33, 0x33, 0, 0, 0, 1}, []byte{2, 0, 0, 0, 0, 2}, unix.ETH_P_IPV6,
			ip6From("fe80::ff:fe00:2", "ff02::1", unix.IPPROTO_ICMPV6, bytes.Clone(routerAdvertisement))}
		if _, err := unix.Write(from, f.bytes()); err != nil {
			t.Fatal(err)
		}
	}
	believes := func(n *env.Netns, name string) bool {
		routes := must(t, n, "ip", "-6", "route") + must(t, n, "ip", "-6", "addr", "show", "dev", name)
		return strings.Contains(routes, "2001:db8:") || strings.Contains(routes, "fe80::ff:fe00:2 dev")
	}
	advertise()
	time.Sleep(200 * time.Millisecond)
	if believes(h, "lbr-red") {
		t.Error("the host believes it")
	}
	if believes(inB, "eth0") {
		t.Error("a neighbour believes it")
	}
	// The test sees who does.
	must(t, inB, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
	for i := 0; !believes(inB, "eth0"); i++ {
		advertise()
		if time.Sleep(50 * time.Millisecond); i == 40 {
			t.Fatal("who shall believe it does not either")
		}
	}
}

// A container that has all rights over its own network namespace says what it
// likes, and is heard only as what it is.
func TestForged(t *testing.T) {
	h := host(t)
	a, b := sandbox(2), sandbox(3)
	inA, inB := connect(t, a), connect(t, b)
	dir := t.TempDir()
	store := &network.Store{Root: filepath.Join(dir, "root"), RunRoot: filepath.Join(dir, "run")}
	wall := &firewall.Firewall{Store: store, Host: h.File()}
	from := packets(t, inA, "eth0")
	atB, atHost := packets(t, inB, "eth0"), packets(t, h, "lbr-red")
	mac, other := []byte{2, 0, 0, 0, 0, 2}, []byte{2, 0, 0, 0, 0, 9}
	all := []byte{255, 255, 255, 255, 255, 255}
	const self6, ll, nodes = "fd00::2", "fe80::ff:fe00:2", "ff02::1"
	icmp := func(kind byte, rest ...byte) []byte { return append([]byte{kind, 0, 0, 0}, rest...) }
	hidden := append([]byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, routerAdvertisement...)
	solicited := func(target string) []byte { return append([]byte{0x60, 0, 0, 0}, addr(target)...) }
	for _, c := range []struct {
		name   string
		frame  frame
		passes bool
	}{
		{"a packet", frame{all, mac, unix.ETH_P_IP, ip4From("10.89.0.2", 17, udp(1000, 2000, ""))}, true},
		{"foreign MAC", frame{all, other, unix.ETH_P_IP, ip4From("10.89.0.2", 17, udp(1000, 2000, ""))}, false},
		{"foreign IPv4 address", frame{all, mac, unix.ETH_P_IP, ip4From("10.89.0.7", 17, udp(1000, 2000, ""))}, false},
		{"the gateway's address", frame{all, mac, unix.ETH_P_IP, ip4From("10.89.0.1", 17, udp(1000, 2000, ""))}, false},
		{"ARP", frame{all, mac, unix.ETH_P_ARP, arpFrom(mac, "10.89.0.2")}, true},
		{"ARP probe", frame{all, mac, unix.ETH_P_ARP, arpFrom(mac, "0.0.0.0")}, true},
		{"ARP for the gateway", frame{all, mac, unix.ETH_P_ARP, arpFrom(mac, "10.89.0.1")}, false},
		{"ARP for a neighbour", frame{all, mac, unix.ETH_P_ARP, arpFrom(mac, "10.89.0.3")}, false},
		{"ARP with another MAC", frame{all, mac, unix.ETH_P_ARP, arpFrom(other, "10.89.0.2")}, false},
		{"ARP, foreign MAC", frame{all, other, unix.ETH_P_ARP, arpFrom(mac, "10.89.0.2")}, false},
		{"ARP probe, foreign MAC", frame{all, other, unix.ETH_P_ARP, arpFrom(mac, "0.0.0.0")}, false},
		{"DHCP client", frame{all, mac, unix.ETH_P_IP, ip4From("0.0.0.0", 17, udp(68, 67, ""))}, true},
		{"DHCP client, foreign MAC", frame{all, other, unix.ETH_P_IP, ip4From("0.0.0.0", 17, udp(68, 67, ""))}, false},
		{"DHCP server", frame{all, mac, unix.ETH_P_IP, ip4From("10.89.0.2", 17, udp(67, 68, ""))}, false},
		{"IPv6", frame{all, mac, unix.ETH_P_IPV6, ip6From(self6, nodes, 17, udp(1000, 2000, ""))}, true},
		{"IPv6 link-local", frame{all, mac, unix.ETH_P_IPV6, ip6From(ll, nodes, 17, udp(1000, 2000, ""))}, true},
		{"foreign IPv6 address", frame{all, mac, unix.ETH_P_IPV6, ip6From("fd00::7", nodes, 17, udp(1000, 2000, ""))}, false},
		{"foreign link-local address", frame{all, mac, unix.ETH_P_IPV6, ip6From("fe80::7", nodes, 17, udp(1000, 2000, ""))}, false},
		{"DHCPv6 server", frame{all, mac, unix.ETH_P_IPV6, ip6From(ll, nodes, 17, udp(547, 546, ""))}, false},
		{"neighbour advertisement", frame{all, mac, unix.ETH_P_IPV6, ip6From(self6, nodes, 58, icmp(136, solicited(self6)...))}, true},
		{"forged neighbour advertisement", frame{all, mac, unix.ETH_P_IPV6, ip6From(self6, nodes, 58, icmp(136, solicited("fd00::1")...))}, false},
		{"router advertisement", frame{all, mac, unix.ETH_P_IPV6, ip6From(ll, nodes, 58, bytes.Clone(routerAdvertisement))}, false},
		{"router advertisement behind options", frame{all, mac, unix.ETH_P_IPV6, ip6From(ll, nodes, 60, hidden)}, false},
		{"redirect", frame{all, mac, unix.ETH_P_IPV6, ip6From(ll, nodes, 58, icmp(137, make([]byte, 36)...))}, false},
		{"duplicate address detection", frame{all, mac, unix.ETH_P_IPV6, ip6From("::", nodes, 58, icmp(135, append([]byte{0, 0, 0, 0}, addr(self6)...)...))}, true},
		{"duplicate address detection, foreign MAC", frame{all, other, unix.ETH_P_IPV6, ip6From("::", nodes, 58, icmp(135, append([]byte{0, 0, 0, 0}, addr(self6)...)...))}, false},
		{"listening to a group", frame{all, mac, unix.ETH_P_IPV6, ip6From("::", nodes, 58, icmp(143, make([]byte, 4)...))}, true},
		{"listening to a group, foreign MAC", frame{all, other, unix.ETH_P_IPV6, ip6From("::", nodes, 58, icmp(143, make([]byte, 4)...))}, false},
		{"VLAN", frame{all, mac, unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, ip4From("10.89.0.2", 17, udp(1000, 2000, ""))...)}, false},
		{"another protocol", frame{all, mac, 0x88b5, []byte("x")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			send := func(wait time.Duration) (atNeighbour, atHosts bool) {
				drain(atB)
				drain(atHost)
				if _, err := unix.Write(from, c.frame.bytes()); err != nil {
					t.Fatal(err)
				}
				return arrives(atB, c.frame, wait), arrives(atHost, c.frame, wait)
			}
			must(t, h, "nft", "flush", "ruleset")
			if n, h := send(500 * time.Millisecond); !n || !h {
				t.Errorf("without a guard a neighbour sees it: %v, the host: %v", n, h)
			}
			if err := wall.Attach(a); err != nil {
				t.Fatal(err)
			}
			wait := 60 * time.Millisecond
			if c.passes {
				wait = 500 * time.Millisecond
			}
			if n, h := send(wait); n != c.passes || h != c.passes {
				t.Errorf("a neighbour sees it: %v, the host: %v", n, h)
			}
		})
	}
	// Who has not been let in yet says nothing at all.
	if err := wall.Detach(a); err != nil {
		t.Fatal(err)
	}
	if err := reached(inA, h, "10.89.0.1"); err == nil {
		t.Error("a container speaks before it was let in")
	}
	if err := wall.Attach(a); err != nil {
		t.Fatal(err)
	}
	// Honest programs notice nothing.
	if err := wall.Attach(b); err != nil {
		t.Fatal(err)
	}
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	reach(t, inA, h, "10.89.0.1", "fd00::1")
	reach(t, inB, inA, "10.89.0.2", "fd00::2")
	must(t, inA, "ip", "neigh", "flush", "dev", "eth0")
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	// Nothing of them stays.
	for _, sb := range []*network.Sandbox{a, b} {
		for range 2 {
			if err := wall.Detach(sb); err != nil {
				t.Error(err)
			}
		}
	}
	if rules := must(t, h, "nft", "list", "ruleset"); strings.Contains(rules, "lv0000000") {
		t.Error(rules)
	}
}
