package dns

import (
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/network"
)

// A question about a container, from packet to answer.
func BenchmarkQuestion(b *testing.B) {
	g := newRig(b, nil)
	g.name(idOne, "web", other, "10.89.0.3", "fd00::3")
	g.sandbox(network.Sandbox{Endpoints: []network.Endpoint{endpoint("one", idOne, "10.89.0.2/24")}})
	m := message(1, "web.", typeA, 1232)
	to := client{peer: unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}}
	b.ReportAllocs()
	for b.Loop() {
		g.r.ask(to, m)
	}
}
