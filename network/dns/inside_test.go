package dns

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"loper.run/network"
	"loper.run/test/env"
)

// A server in a network that only the container has a way to is asked from there.
func TestServerInTheContainersNetwork(t *testing.T) {
	inside, elsewhere := env.TestNetns(t), env.TestNetns(t)
	if err := env.Wire(inside, "eth0", []string{"10.213.0.2/24"}, elsewhere, "eth0", []string{"10.213.0.53/24"}); err != nil {
		t.Fatal(err)
	}
	var pc net.PacketConn
	var l net.Listener
	elsewhere.Do(func() {
		var err error
		if pc, err = net.ListenPacket("udp", "10.213.0.53:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err != nil {
			t.Fatal(err)
		}
	})
	defer pc.Close()
	defer l.Close()
	s := &server{answer: fixed("192.0.2.53"), port: pc.LocalAddr().(*net.UDPAddr).Port}
	go s.serveUDP(pc, "10.213.0.53")
	go s.serveTCP(l, "10.213.0.53")

	g := newRig(t, s)
	g.r.Close()
	fds, err := Listen(g.run, g.networks, inside.File())
	if err != nil {
		t.Fatal(err)
	}
	if g.r, err = New(fds); err != nil {
		t.Fatal(err)
	}
	g.r.host.port = s.port
	e := endpoint("One", idOne, "10.213.0.2/24")
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{e}, Nameservers: []netip.Addr{netip.MustParseAddr("10.213.0.53")}})
	g.addr = "127.0.0.11:53"
	g.start()
	inside.Do(func() {
		for i := range 2 * spares {
			id := uint16(i)
			if got := describe(t, g.exchange(message(id, "www.test.", typeA, 0), 3*time.Second), id, "www.test."); got != "Success 192.0.2.53" {
				t.Fatal(got)
			}
		}
		c := g.dial()
		c.Write(framed(message(1, "www.test.", dnsmessage.TypeA, 0)))
		if got := describe(t, readFramed(c), 1, "www.test."); got != "Success 192.0.2.53" {
			t.Error(got)
		}
	})
}
