package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"loper.run/network"
	"loper.run/network/link"
	"loper.run/test/env"
)

// wired is a host with an interface up0, and the wire's other end in another
// namespace.
func wired(t *testing.T) (h, other *env.Netns) {
	t.Helper()
	h, other = host(t), env.TestNetns(t)
	if err := env.Wire(h, "up0", []string{"192.0.2.1/24"}, other, "far0", []string{"192.0.2.9/24", "2001:db8::9/64"}); err != nil {
		t.Skip(err)
	}
	return h, other
}

func onWire(driver, mode string, n int) *network.Sandbox {
	e := endpoint(n)
	e.Driver, e.Mode, e.Link = driver, mode, "up0"
	last := string(rune('0' + n))
	e.Addresses = []netip.Prefix{netip.MustParsePrefix("192.0.2.1" + last + "/24"), netip.MustParsePrefix("2001:db8::" + last + "/64")}
	e.Gateways = []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")}
	return sandbox(n, e)
}

// lacks skips a test of what this kernel does not have.
func lacks(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "the kernel has no") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMacvlan(t *testing.T) {
	for mode, together := range map[string]bool{"": true, "bridge": true, "private": false, "vepa": false} {
		t.Run("mode="+mode, func(t *testing.T) {
			_, other := wired(t)
			a, b := onWire(network.Macvlan, mode, 2), onWire(network.Macvlan, mode, 3)
			inA, inB := env.TestNetns(t), env.TestNetns(t)
			lacks(t, link.Connect(a, inA.File(), noRules))
			lacks(t, link.Connect(b, inB.File(), noRules))
			reach(t, inA, other, "192.0.2.9", "2001:db8::9")
			reach(t, other, inB, "192.0.2.13", "2001:db8::3")
			if err := reached(inA, inB, "192.0.2.13"); (err == nil) != together {
				t.Errorf("one container reaches the other: %v", err)
			}
			eth0 := interfaces(t, inA)["eth0"]
			if eth0.Address != "02:00:00:00:00:02" || eth0.Linkinfo.Info_kind != "macvlan" {
				t.Errorf("%+v", eth0)
			}
			if r := must(t, inA, "ip", "route"); !strings.Contains(r, "default via 192.0.2.9 dev eth0") {
				t.Error(r)
			}
			if err := link.DisconnectOne(a, &a.Endpoints[0], inA.File()); err != nil {
				t.Error(err)
			}
			if all := interfaces(t, inA); len(all) != 1 {
				t.Errorf("%v", all)
			}
			if err := link.Disconnect(b); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMacvlanPassthru(t *testing.T) {
	_, other := wired(t)
	inA := env.TestNetns(t)
	lacks(t, link.Connect(onWire(network.Macvlan, "passthru", 2), inA.File(), noRules))
	reach(t, inA, other, "192.0.2.9")
	err := link.Connect(onWire(network.Macvlan, "passthru", 3), env.TestNetns(t).File(), noRules)
	if err == nil || !strings.Contains(err.Error(), "the parent up0") {
		t.Errorf("error %v", err)
	}
}

func TestMacvlanRefused(t *testing.T) {
	h := host(t)
	n := env.TestNetns(t)
	s := onWire(network.Macvlan, "", 2)
	if err := link.Connect(s, n.File(), noRules); err == nil || !strings.Contains(err.Error(), "there is no interface up0") {
		t.Errorf("error %v", err)
	}
	must(t, h, "ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
	s.Endpoints[0].Mode = "other"
	if err := link.Connect(s, n.File(), noRules); err == nil || !strings.Contains(err.Error(), "no mode other") {
		t.Errorf("error %v", err)
	}
	s.Endpoints[0].Mode, s.RateIn = "", 1e6
	if err := link.Connect(s, n.File(), noRules); err == nil || !strings.Contains(err.Error(), "use a bridge network") {
		t.Errorf("error %v", err)
	}
	if all := interfaces(t, n); len(all) != 1 {
		t.Errorf("after an error there is %v", all)
	}
}

func TestIpvlan(t *testing.T) {
	for _, mode := range []string{"", "l2", "l3", "l3s"} {
		t.Run("mode="+mode, func(t *testing.T) {
			_, other := wired(t)
			a := onWire(network.Ipvlan, mode, 2)
			a.Endpoints[0].MAC = ""
			inA := env.TestNetns(t)
			lacks(t, link.Connect(a, inA.File(), noRules))
			if strings.HasPrefix(mode, "l3") { // nobody answers ARP for the container
				must(t, other, "ip", "neigh", "replace", "192.0.2.12", "lladdr", interfaces(t, inA)["eth0"].Address, "dev", "far0")
			}
			reach(t, inA, other, "192.0.2.9")
			want := "default via 192.0.2.9 dev eth0"
			if strings.HasPrefix(mode, "l3") {
				want = "default dev eth0"
			}
			if r := must(t, inA, "ip", "route"); !strings.Contains(r, want) {
				t.Error(r)
			}
		})
	}
}

// A VLAN's interface is made for the network, and goes with it.
func TestVLANParent(t *testing.T) {
	h, other := wired(t)
	s := onWire(network.Macvlan, "", 2)
	s.Endpoints[0].Link = "up0.10"
	inA := env.TestNetns(t)
	lacks(t, link.Connect(s, inA.File(), noRules))
	must(t, other, "ip", "link", "add", "far0.10", "link", "far0", "type", "vlan", "id", "10")
	must(t, other, "ip", "addr", "add", "192.0.2.20/24", "dev", "far0.10")
	must(t, other, "ip", "link", "set", "far0.10", "up")
	must(t, other, "ip", "addr", "flush", "dev", "far0")
	reach(t, inA, other, "192.0.2.20")
	if err := link.TearDown(&network.Network{ID: networkID, Driver: network.Macvlan, Interface: "up0.10"}); err != nil {
		t.Error(err)
	}
	if _, err := linkOf(h, "up0.10"); err == nil {
		t.Error("the VLAN's interface is still there")
	}
	if err := link.TearDown(&network.Network{ID: networkID, Driver: network.Macvlan, Interface: "up0"}); err != nil {
		t.Error(err)
	}
	if _, err := linkOf(h, "up0"); err != nil {
		t.Error("the host's own interface is gone: ", err)
	}
}

// On a bridge with a VLAN its containers and the host are in it, untagged; a
// port of the trunk sees their frames with the VLAN's tag.
func TestBridgeVLAN(t *testing.T) {
	h := host(t)
	place := func(n int) *network.Sandbox {
		e := endpoint(n)
		e.VLAN = 7
		return sandbox(n, e)
	}
	inA, inB := env.TestNetns(t), env.TestNetns(t)
	lacks(t, link.Connect(place(2), inA.File(), noRules))
	lacks(t, link.Connect(place(3), inB.File(), noRules))
	reach(t, inA, inB, "10.89.0.3", "fd00::3")
	reach(t, inA, h, "10.89.0.1", "fd00::1")
	if d := interfaces(t, h)["lbr-red"].Linkinfo.Info_data; d["vlan_filtering"] != 1.0 || d["vlan_default_pvid"] != 7.0 {
		t.Errorf("%v", d)
	}
}
