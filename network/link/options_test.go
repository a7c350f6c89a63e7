package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"loper.run/network"
)

// The containers of a network without icc reach its gateway, and not each other.
func TestNoICC(t *testing.T) {
	h := host(t)
	place := func(n int) *network.Sandbox {
		e := endpoint(n)
		e.NoICC = true
		return sandbox(n, e)
	}
	inA, inB := connect(t, place(2)), connect(t, place(3))
	reach(t, inA, h, "10.89.0.1")
	reach(t, h, inB, "10.89.0.3", "fd00::3")
	for _, address := range []string{"10.89.0.3", "fd00::3"} {
		if err := reached(inA, inB, address); err == nil {
			t.Errorf("%s answers", address)
		}
	}
}

func TestRoutes(t *testing.T) {
	host(t)
	e := endpoint(2)
	e.Metric = 77
	e.Routes = []network.Route{
		{To: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("10.89.0.9"), Metric: 5},
		{To: netip.MustParsePrefix("2001:db8::/32"), Gateway: netip.MustParseAddr("fd00::9")},
	}
	other := endpoint(3)
	other.NoDefault = true
	inA, inB := connect(t, sandbox(2, e)), connect(t, sandbox(3, other))
	routes := must(t, inA, "ip", "route") + must(t, inA, "ip", "-6", "route")
	for _, want := range []string{"default via 10.89.0.1 dev eth0 metric 77", "192.0.2.0/24 via 10.89.0.9 dev eth0 metric 5", "2001:db8::/32 via fd00::9", "default via fd00::1 dev eth0 metric 77"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %s in %s", want, routes)
		}
	}
	if routes := must(t, inB, "ip", "route") + must(t, inB, "ip", "-6", "route"); strings.Contains(routes, "default") {
		t.Error(routes)
	}
}
