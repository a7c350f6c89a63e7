package firewall_test

import (
	"testing"
)

// A published port is reached from everywhere, by both families, and the
// container sees who asks.
func TestPublished(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		w := newWorld(t)
		w.bridgesFilter("0")
		testPublished(w, "b fd90:1::1")
	})
	t.Run("filtering bridges", func(t *testing.T) {
		w := newWorld(t)
		if !w.bridgesFilter("1") {
			t.Skip("this kernel's bridges don't show the packet filter what crosses them")
		}
		testPublished(w, "")
	})
}

func testPublished(w *world, loopback string) {
	w.Helper()
	one := w.net(1, nil)
	b := w.box(one, published("", 8080, 80, "tcp"), published("", 8080, 80, "udp"), published(host4, 8081, 80, "tcp"), published(host6, 8081, 80, "udp"))
	w.serve(b.ns, 80, "b")
	neighbour := w.box(one)
	w.serve(neighbour.ns, 80, "n")
	elsewhere := w.box(w.net(2, nil))
	for _, protocol := range []string{"tcp", "udp"} {
		w.expect("outside", w.outside, protocol, host4, 8080, "b "+outside4)
		w.expect("outside", w.outside, protocol, host6, 8080, "b "+outside6)
		w.expect("host", w.host, protocol, host4, 8080, "b "+host4)
		w.expect("host", w.host, protocol, host6, 8080, "b "+host6)
		w.expect("host's loopback", w.host, protocol, "127.0.0.1", 8080, "b 10.90.1.1")
		w.expect("host's loopback", w.host, protocol, "127.1.2.3", 8080, "b 10.90.1.1")
		//		w.expect("host's loopback", w.host, protocol, "::1", 8080, "b fd90:1::1")
		w.expect("host, by the bridge", w.host, protocol, "10.90.1.1", 8080, "b 10.90.1.1")
		w.expect("host, directly", w.host, protocol, b.v4(), 80, "b 10.90.1.1")
		w.expect("neighbour", neighbour.ns, protocol, host4, 8080, "b 10.90.1.1")
		w.expect("neighbour", neighbour.ns, protocol, host6, 8080, "b fd90:1::1")
		w.expect("neighbour, by the gateway", neighbour.ns, protocol, "10.90.1.1", 8080, "b 10.90.1.1")
		w.expect("neighbour, directly", neighbour.ns, protocol, b.v4(), 80, "b "+neighbour.v4())
		w.expect("neighbour, directly", neighbour.ns, protocol, b.v6(), 80, "b "+neighbour.v6())
		w.expect("itself", b.ns, protocol, host4, 8080, "b 10.90.1.1")
		w.expect("itself", b.ns, protocol, host6, 8080, "b fd90:1::1")
		w.expect("another network", elsewhere.ns, protocol, host4, 8080, "b "+elsewhere.v4())
		w.expect("another network", elsewhere.ns, protocol, host6, 8080, "b "+elsewhere.v6())
	}
	w.expect("one address", w.outside, "tcp", host4, 8081, "b "+outside4)
	w.expect("one address", w.outside, "udp", host6, 8081, "b "+outside6)
	w.expect("one address, another", w.outside, "tcp", host6, 8081, "")
	w.expect("one address, another protocol", w.outside, "udp", host4, 8081, "")
	w.expect("one address, loopback", w.host, "tcp", "127.0.0.1", 8081, "")
	if w.Failed() {
		w.Log(w.nft("list", "ruleset"))
	}

	w.must(w.wall.Detach(b.Sandbox))
	w.must(w.wall.Detach(b.Sandbox))
	for _, protocol := range []string{"tcp", "udp"} {
		w.expect("detached", w.outside, protocol, host4, 8080, "")
		w.expect("detached", w.host, protocol, "127.0.0.1", 8080, "")
	}
}
