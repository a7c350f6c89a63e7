package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"loper.run/network"
)

// Without the tables nothing is reachable, and whoever comes next puts them back
// for all.
func TestFlushed(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	a := w.box(one, published("", 8001, 80, "tcp"))
	b := w.box(one, published("", 8002, 80, "tcp"))
	w.serve(a.ns, 80, "a")
	w.serve(b.ns, 80, "b")
	reached := func(what, wantA, wantB string) {
		t.Helper()
		for _, ends := range [][2]string{{host4, outside4}, {host6, outside6}} {
			for port, want := range map[int]string{8001: wantA, 8002: wantB} {
				if want != "" {
					want += " " + ends[1]
				}
				w.expect(what, w.outside, "tcp", ends[0], port, want)
			}
		}
	}
	reached("at first", "a", "b")
	for what, repair := range map[string]func(){
		"after Ensure": func() {
			notes, err := w.wall.Ensure(&network.Sandbox{})
			w.must(err)
			if len(notes) == 0 || !strings.Contains(notes[0], "put back for ") {
				t.Errorf("notes %q", notes)
			}
			if notes, err := w.wall.Ensure(&network.Sandbox{}); err != nil || len(notes) != 0 {
				t.Errorf("notes %q, %v", notes, err)
			}
		},
		"after Repair":             func() { w.must(w.wall.Repair()) },
		"after another's start":    func() { w.box(one, published("", 8003, 80, "tcp")) },
		"after one's own, again":   func() { w.must(w.wall.Attach(a.Sandbox)) },
		"after a start without -p": func() { w.box(one) },
	} {
		w.nft("flush", "ruleset")
		reached("flushed", "", "")
		repair()
		reached(what, "a", "b")
	}
	// Half of it is as good as nothing.
	w.nft("delete", "table", "ip6", firewallName(w))
	w.must(w.wall.Attach(a.Sandbox))
	reached("without the table for IPv6", "a", "b")
	w.nft("flush", "ruleset")
	w.must(w.wall.Detach(a.Sandbox))
	reached("detached from nothing", "", "")
}

// A thousand ports are elements, and not rules.
func TestThousandPorts(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	w.box(one, published("", 8000, 80, "tcp"))
	chains := func() string { return w.nft("-s", "-t", "list", "ruleset") }
	before := chains()
	var ports []network.Port
	for i := range 1000 {
		ports = append(ports, published([]string{"", "127.0.0.1", host6}[i%3], uint16(10000+i), uint16(20000+i), []string{"tcp", "udp"}[i%2]))
	}
	start := time.Now()
	b := w.box(one, ports...)
	t.Log("attached in ", time.Since(start))
	if after := chains(); after != before {
		t.Errorf("rules for ports: %s", after)
	}
	w.serve(b.ns, 20000, "b")
	w.serve(b.ns, 20998, "b")
	w.expect("the first", w.outside, "tcp", host4, 10000, "b "+outside4)
	w.expect("the last but one", w.host, "tcp", "127.0.0.1", 10998, "")
	w.expect("the last but one", w.outside, "tcp", host6, 10998, "b "+outside6)
	start = time.Now()
	w.must(w.wall.Detach(b.Sandbox))
	t.Log("detached in ", time.Since(start))
	if left := w.nft("list", "ruleset"); strings.Contains(left, network.ShortID(b.Container)) || !strings.Contains(left, "tcp . 8000") {
		t.Errorf("left: %s", left)
	}
}

// Packets of one UDP conversation go to whoever has the port now.
func TestUDPFollows(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	var c net.Conn
	w.outside.Do(func() {
		var err error
		c, err = net.Dial("udp", net.JoinHostPort(host4, "8053"))
		w.must(err)
	})
	defer c.Close()
	say := func(patience time.Duration) string {
		c.Write([]byte("?"))
		c.SetDeadline(time.Now().Add(patience))
		buffer := make([]byte, 100)
		n, _ := c.Read(buffer)
		return string(buffer[:n])
	}
	if got := say(300 * time.Millisecond); got != "" {
		t.Errorf("nobody answers %q", got)
	}
	for _, name := range []string{"first", "second"} {
		b := w.box(one, published("", 8053, 53, "udp"))
		w.serve(b.ns, 53, name)
		if got, want := say(2*time.Second), name+" "+outside4; got != want {
			t.Errorf("%q, not %q", got, want)
		}
		w.must(w.wall.Detach(b.Sandbox))
		w.stopped(b)
		if got := say(300 * time.Millisecond); got != "" {
			t.Errorf("after the end: %q", got)
		}
	}
}

// What a killed container left is in nobody's way, and its late end harms
// nobody.
func TestLeftOver(t *testing.T) {
	w := newWorld(t)
	one := w.net(1, nil)
	dead := w.box(one, published("", 8080, 80, "tcp"), published(host6, 8081, 80, "tcp"))
	w.stopped(dead)
	b := w.box(one, published("", 8080, 80, "tcp"), published(host6, 8081, 80, "tcp"))
	w.serve(b.ns, 80, "b")
	for range 2 {
		w.expect("a port that was a dead one's", w.outside, "tcp", host4, 8080, "b "+outside4)
		w.expect("a port that was a dead one's", w.outside, "tcp", host6, 8081, "b "+outside6)
		w.must(w.wall.Detach(dead.Sandbox))
	}
	w.stopped(b)
	// A network of the same name, with another subnet.
	other := one
	other.NetworkID = "another"
	e := other
	e.Addresses = []netip.Prefix{netip.MustParsePrefix("10.90.1.77/16"), netip.MustParsePrefix("fd90:1::77/48")}
	wider := &network.Sandbox{Container: fmt.Sprintf("%064x", 77), Endpoints: []network.Endpoint{e}}
	w.must(w.wall.Attach(wider))
}

// A host without IPv6 has published ports all the same.
func TestNoIPv6(t *testing.T) {
	w := newWorld(t)
	w.setting("ipv6/conf/all/disable_ipv6", "1")
	w.setting("ipv6/conf/default/disable_ipv6", "1")
	e := network.Endpoint{Network: "four", NetworkID: "1", Driver: network.Bridge, Link: "br1", Gateways: []netip.Addr{netip.MustParseAddr("10.90.1.1")},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.90.1.2/24")}}
	w.must(w.host.IP("link", "add", "br1", "up", "type", "bridge"))
	w.must(w.wall.Attach(&network.Sandbox{Container: strings.Repeat("a", 64), Endpoints: []network.Endpoint{e}, Ports: []network.Port{published("", 80, 80, "tcp")}}))
	if got := w.nft("list", "ruleset"); !strings.Contains(got, "tcp . 80") {
		t.Error(got)
	}
}

// With the last network all is gone from the kernel.
func TestNothingLeft(t *testing.T) {
	w := newWorld(t)
	look := func() string {
		var all string
		w.host.Do(func() {
			for line := range strings.Lines(output("ip", "-br", "link")) {
				name, _, _ := strings.Cut(line, " ")
				all += name + "\n"
			}
			all += output("ip", "rule") + output("ip", "-6", "rule")
		})
		return w.nft("list", "ruleset") + all
	}
	before := look()
	one, two := w.net(1, nil), w.net(2, func(e *network.Endpoint) { e.Internal = true; e.Isolated = true })
	a := w.box(one, published("", 8080, 80, "tcp"), published("", 8080, 80, "udp"))
	b := w.box(two)
	for _, x := range []*box{a, b} {
		w.must(w.wall.Detach(x.Sandbox))
		w.stopped(x)
		w.must(w.host.IP("link", "del", x.Endpoints[0].HostInterface))
	}
	for i, e := range []network.Endpoint{one, two} {
		w.must(w.host.IP("link", "del", e.Link))
		w.must(w.wall.RemoveNetwork(&network.Network{Driver: network.Bridge, Interface: e.Link, ID: e.NetworkID}))
		left := w.nft("list", "ruleset")
		if strings.Contains(left, e.Link) || (left == "") != (i == 1) {
			t.Errorf("left of %s: %s", e.Link, left)
		}
	}
	if after := look(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
	if _, err := os.Stat(w.store.Root); err == nil {
		t.Error("the firewall keeps files for ever")
	}
}
