package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"loper.run/network"
	"loper.run/test/env"
)

// Who may talk to whom is the same for IPv4 and IPv6 (CVE-2024-32473 was that it
// was not), and whether or not bridges show the packet filter what crosses them.
func TestIsolation(t *testing.T) {
	for _, filtering := range []string{"0", "1"} {
		t.Run("bridges filter "+filtering, func(t *testing.T) {
			w := newWorld(t)
			if !w.bridgesFilter(filtering) && filtering == "1" {
				t.Skip("this kernel's bridges don't show the packet filter what crosses them")
			}
			testIsolation(w)
		})
	}
}

func testIsolation(w *world) {
	serve := func(b *box) *box { w.serve(b.ns, 80, "here"); return b }
	plain := w.net(1, nil)
	a := serve(w.box(plain, published("", 8001, 80, "tcp")))
	a2 := serve(w.box(plain))
	b := serve(w.box(w.net(2, nil)))
	isolated := w.net(3, func(e *network.Endpoint) { e.Isolated = true })
	i := serve(w.box(isolated, published("", 8003, 80, "tcp")))
	i2 := serve(w.box(isolated))
	inner := w.net(4, func(e *network.Endpoint) { e.Internal = true })
	n := serve(w.box(inner, published("", 8004, 80, "tcp")))
	n2 := serve(w.box(inner))
	open := w.box(w.net(5, func(e *network.Endpoint) { e.NoMasquerade = true }))
	w.serve(w.host, 7000, "host")
	w.serve(w.outside, 7000, "outside")
	// The neighbour on the wire knows the way to all containers.
	for _, e := range []network.Endpoint{plain, isolated, inner, open.Endpoints[0]} {
		w.must(w.outside.IP("route", "add", netip.PrefixFrom(e.Gateways[0], 24).Masked().String(), "via", host4))
		w.must(w.outside.IP("-6", "route", "add", netip.PrefixFrom(e.Gateways[1], 64).Masked().String(), "via", host6))
	}
	type end struct{ v4, v6 string }
	ends := func(b *box) end { return end{b.v4(), b.v6()} }
	gateway := func(b *box) end { return end{b.Endpoints[0].Gateways[0].String(), b.Endpoints[0].Gateways[1].String()} }
	host, outside := end{host4, host6}, end{outside4, outside6}
	const no = ""
	var all sync.WaitGroup
	for _, test := range []struct {
		what string
		from *env.Netns
		to   end
		port int
		name string // of who answers; "": nobody
		sees end    // whom he sees
	}{
		{"a neighbour", a.ns, ends(a2), 80, "here", ends(a)},
		{"another network", a.ns, ends(b), 80, "here", ends(a)},
		{"outside", a.ns, outside, 7000, "outside", host},
		{"outside, not masqueraded", open.ns, outside, 7000, "outside", ends(open)},
		{"the host", a.ns, host, 7000, "host", ends(a)},
		{"the host, by the gateway", a.ns, gateway(a), 7000, "host", ends(a)},
		{"from the host", w.host, ends(a), 80, "here", gateway(a)},

		{"into an isolated network", a.ns, ends(i), 80, no, end{}},
		{"out of an isolated network", i.ns, ends(a), 80, no, end{}},
		{"within an isolated network", i.ns, ends(i2), 80, "here", ends(i)},
		{"outside, from an isolated network", i.ns, outside, 7000, "outside", host},
		{"a published port, from an isolated network", i.ns, host, 8001, "here", ends(i)},
		{"a published port of an isolated network", a.ns, host, 8003, "here", ends(a)},

		{"within an internal network", n.ns, ends(n2), 80, "here", ends(n)},
		{"the host, from an internal network, by the gateway", n.ns, gateway(n), 7000, "host", ends(n)},
		{"an internal network, from the host", w.host, ends(n), 80, "here", gateway(n)},
		{"the host's other address, from an internal network", n.ns, host, 7000, no, end{}},
		{"another gateway, from an internal network", n.ns, gateway(a), 7000, no, end{}},
		{"outside, from an internal network", n.ns, outside, 7000, no, end{}},
		{"another network, from an internal network", n.ns, ends(a), 80, no, end{}},
		{"a published port, from an internal network", n.ns, host, 8001, no, end{}},
		{"a published port, from an internal network, by the gateway", n.ns, gateway(n), 8001, no, end{}},
		{"an internal network", a.ns, ends(n), 80, no, end{}},
		{"an internal network's published port", w.outside, host, 8004, no, end{}},
		{"an internal network's published port, from the host", w.host, end{"127.0.0.1", "::1"}, 8004, no, end{}},

		{"a container, from outside", w.outside, ends(a), 80, no, end{}},
		{"a container without ports, from outside", w.outside, ends(a2), 80, no, end{}},
		{"an isolated container, from outside", w.outside, ends(i), 80, no, end{}},
		{"an internal container, from outside", w.outside, ends(n), 80, no, end{}},
	} {
		for _, family := range []struct{ to, sees string }{{test.to.v4, test.sees.v4}, {test.to.v6, test.sees.v6}} {
			want := no
			if test.name != no {
				want = test.name + " " + family.sees
			}
			all.Go(func() { w.expect(test.what, test.from, "tcp", family.to, test.port, want) })
		}
	}
	all.Wait()
	if w.Failed() {
		w.Log(w.nft("list", "ruleset"))
	}
}

// What is published at the host's loopback address is reached by nobody else,
// though he sends packets for it over the wire; neither is what the host itself
// has there.
func TestLoopbackOnly(t *testing.T) {
	w := newWorld(t)
	b := w.box(w.net(1, nil), published("127.0.0.1", 8080, 80, "tcp"), published("::1", 8080, 80, "udp"))
	w.serve(b.ns, 80, "b")
	b.PublishOpen = true // or the kernel itself drops what the host's firewall is asked about
	w.must(w.wall.Attach(b.Sandbox))
	neighbour := w.box(b.Endpoints[0])
	w.expect("host", w.host, "tcp", "127.0.0.1", 8080, "b 10.90.1.1")
	w.serve(w.host, 7000, "host")
	w.setting("ipv4/conf/all/rp_filter", "0")
	w.setting("ipv4/conf/all/accept_local", "1") // then the kernel itself believes such senders
	// Outside is a machine that takes 127.0.0.1 for an address as any other.
	for _, m := range []struct {
		ns      *env.Netns
		gateway string
	}{{w.outside, host4}, {neighbour.ns, "10.90.1.1"}} {
		m.ns.Do(func() { allowLoopback(t) })
		w.must(m.ns.IP("address", "del", "127.0.0.1/8", "dev", "lo"))
		w.must(m.ns.IP("route", "add", "127.0.0.0/8", "via", m.gateway))
		w.expect("over the wire", m.ns, "tcp", "127.0.0.1", 8080, "")
		w.expect("over the wire", m.ns, "tcp", "127.0.0.1", 7000, "")
	}
	w.expect("by another address", w.outside, "tcp", host4, 8080, "")
	w.expect("by another address", w.outside, "udp", host6, 8080, "")

	// Neither does anybody pass for the host itself.
	got := make(chan string, 10)
	w.host.Do(func() {
		c, err := net.ListenPacket("udp4", ":7001")
		w.must(err)
		t.Cleanup(func() { c.Close() })
		go func() {
			buffer := make([]byte, 100)
			for {
				n, from, err := c.ReadFrom(buffer)
				if err != nil {
					return
				}
				got <- fmt.Sprintf("%s from %s", buffer[:n], from)
			}
		}()
	})
	forge := func(word string) {
		neighbour.ns.Do(func() {
			c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 9, 9, 9), Port: 7001}, &net.UDPAddr{IP: net.IPv4(10, 90, 1, 1), Port: 7001})
			w.must(err)
			c.Write([]byte(word))
			c.Close()
		})
	}
	w.must(neighbour.ns.IP("address", "add", "127.9.9.9/32", "dev", "eth0"))
	forge("forged")
	select {
	case packet := <-got:
		t.Error(packet)
	case <-time.After(200 * time.Millisecond):
	}
	// The test is able to fail: without the rules and the seal all this works.
	w.nft("flush", "chain", "ip", firewallName(w), "raw")
	forge("forged, and sealed")
	select {
	case packet := <-got:
		t.Error(packet)
	case <-time.After(200 * time.Millisecond):
	}
	w.unseal("br1")
	w.expect("over the wire, without the rules", w.outside, "tcp", "127.0.0.1", 8080, "b "+outside4)
	forge("forged again")
	select {
	case <-got:
	case <-time.After(time.Second):
		t.Error("the forged packet would not have come anyway")
	}
}
