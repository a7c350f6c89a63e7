package network

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// The way out is by the network of the highest priority, and of those the first
// that has one; published ports lead to where it is.
func TestDefaultRoutes(t *testing.T) {
	place := func(name string, priority int, gateways ...string) Endpoint {
		e := Endpoint{Network: name, Driver: Bridge, Priority: priority}
		for _, g := range gateways {
			a := netip.MustParseAddr(g)
			e.Gateways = append(e.Gateways, a)
			e.Addresses = append(e.Addresses, netip.PrefixFrom(a.Next(), a.BitLen()-8))
		}
		return e
	}
	inner, wire := place("inner", 9, "10.9.0.1", "fd09::1"), place("wire", 3, "10.8.0.1")
	inner.Internal, wire.Driver = true, Macvlan
	for _, test := range []struct {
		places []Endpoint
		want   string
	}{
		{nil, " to"},
		{[]Endpoint{place("a", 0, "10.1.0.1", "fd01::1"), place("b", 0, "10.2.0.1", "fd02::1")}, "a a to 10.1.0.2/24 fd01::2/120"},
		{[]Endpoint{place("a", 0, "10.1.0.1", "fd01::1"), place("b", 1, "10.2.0.1", "fd02::1")}, "b b to 10.2.0.2/24 fd02::2/120"},
		{[]Endpoint{place("a", -1, "10.1.0.1", "fd01::1"), place("b", 0, "10.2.0.1")}, "b a to 10.2.0.2/24 fd01::2/120"},
		{[]Endpoint{inner, place("a", 0, "10.1.0.1")}, "a to 10.1.0.2/24"},
		{[]Endpoint{inner}, " to"},
		{[]Endpoint{place("a", 0, "10.1.0.1", "fd01::1"), wire}, "wire a to fd01::2/120"},
	} {
		sb := &Sandbox{Endpoints: test.places}
		var words []string
		for _, r := range sb.DefaultRoutes() {
			words = append(words, r.Endpoint.Network)
		}
		got := strings.Join(words, " ") + " to"
		for _, to := range sb.Targets() {
			got += " " + to.Address.String()
		}
		if got != test.want {
			t.Errorf("%+v: %s, not %s", test.places, got, test.want)
		}
	}
}

// A port of an address of one family does not lead to a container that only has
// the other.
func TestPublishTheOtherFamily(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's ports lead to both families")
	}
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "four", Subnets: []Subnet{subnet("192.0.2.0/24")}}})
	create(t, s, Spec{Network: Network{Name: "inner", Internal: true, Subnets: []Subnet{subnet("198.51.100.0/24")}}})
	port := []Port{{Host: netip.IPv6Loopback(), HostPort: 80, ContainerPort: 80, Protocol: "tcp"}}
	if _, err := s.Claim(id(1), "c", []Request{{Network: "four"}}, port); err == nil || !strings.Contains(err.Error(), "publish port [::1]:80/tcp: the container has no IPv6 address") {
		t.Error(err)
	}
	if _, err := s.Claim(id(1), "c", []Request{{Network: "inner"}}, port); err != nil {
		t.Errorf("it may be connected to another network later: %v", err)
	}
}

// The parent of a macvlan that names none is where the host's own way out is.
func TestDefaultLink(t *testing.T) {
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	h := onHost{links: map[int32]string{1: "gate", 2: "eth0", 3: "wlan0"}, routes: []netlink.Route{
		{To: everywhere, Index: 1, Table: 1234}, {To: everywhere, Index: 3, Table: unix.RT_TABLE_MAIN, Metric: 600}, {To: everywhere, Index: 2, Table: unix.RT_TABLE_MAIN, Metric: 100},
	}}
	if got := h.defaultLink(); got != "eth0" {
		t.Errorf("the default route is at %q", got)
	}
}
