package network

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"loper.run/test/env"
)

func TestCreateRefuses(t *testing.T) {
	s := newStore(t)
	first := create(t, s, Spec{Network: Network{Name: "first", Subnets: []Subnet{subnet("10.7.0.0/16")}}})
	gateway := func(prefix, a string) []Subnet {
		return []Subnet{{Prefix: netip.MustParsePrefix(prefix), Gateway: netip.MustParseAddr(a)}}
	}
	within := func(prefix, r string) []Subnet {
		return []Subnet{{Prefix: netip.MustParsePrefix(prefix), Range: netip.MustParsePrefix(r)}}
	}
	opt := func(driver, key, v string) Network {
		return Network{Driver: driver, Options: map[string]string{key: v}}
	}
	for _, test := range []struct {
		n    Network
		want string
	}{
		{Network{Name: "first"}, "network with name first already exists"},
		{Network{Name: first.ID}, "already exists: first"},
		{Network{Name: first.ID[:12]}, "already exists: first"},
		{Network{Name: "bridge"}, "pre-defined"},
		{Network{Name: "host"}, "pre-defined"},
		{Network{Name: "none"}, "pre-defined"},
		{Network{Name: "../x"}, "invalid network name"},
		{Network{Name: strings.Repeat("a", 129)}, "invalid network name"},
		{Network{Driver: "host"}, "only one instance"},
		{Network{Driver: "overlay"}, `driver "overlay" is not supported`},
		{Network{Subnets: []Subnet{subnet("10.7.3.0/24")}}, "overlaps 10.7.0.0/16 of network first"},
		{Network{Subnets: []Subnet{subnet("10.0.0.0/8")}}, "overlaps 10.7.0.0/16 of network first"},
		{Network{Subnets: []Subnet{subnet("192.0.2.0/31")}}, "no room"},
		{Network{Subnets: []Subnet{subnet("192.0.2.0/32")}}, "no room"},
		{Network{Subnets: []Subnet{subnet("fd00::/127")}}, "no room"},
		{Network{Subnets: []Subnet{subnet("192.0.2.1/24")}}, "should be 192.0.2.0/24"},
		{Network{Subnets: []Subnet{subnet("224.1.0.0/16")}}, "multicast"},
		{Network{Subnets: []Subnet{subnet("255.255.255.0/24")}}, "multicast"},
		{Network{Subnets: []Subnet{subnet("127.0.0.0/24")}}, "loopback"},
		{Network{Subnets: []Subnet{subnet("0.0.0.0/0")}}, "larger than a /8"},
		{Network{Subnets: []Subnet{subnet("ff02::/64")}}, "multicast"},
		{Network{Subnets: []Subnet{subnet("fe80::/64")}}, "link-local"},
		{Network{Subnets: []Subnet{subnet("::ffff:10.1.0.0/112")}}, "write an IPv4 subnet as IPv4"},
		{Network{Subnets: []Subnet{{}}}, "invalid subnet"},
		{Network{Subnets: []Subnet{subnet("192.0.2.0/24"), subnet("198.51.100.0/24")}}, "one of each family"},
		{Network{Subnets: gateway("192.0.2.0/24", "192.0.3.1")}, "gateway 192.0.3.1 is not in the subnet"},
		{Network{Subnets: gateway("192.0.2.0/24", "192.0.2.0")}, "address of the subnet"},
		{Network{Subnets: gateway("192.0.2.0/24", "192.0.2.255")}, "broadcast"},
		{Network{Subnets: gateway("192.0.2.0/24", "fd00::1")}, "not in the subnet"},
		{Network{Subnets: within("192.0.2.0/24", "192.0.3.0/25")}, "not within the subnet"},
		{Network{Subnets: within("192.0.2.0/24", "192.0.0.0/16")}, "not within the subnet"},
		{Network{Subnets: within("192.0.2.0/24", "192.0.2.1/25")}, "should be 192.0.2.0/25"},
		{Network{Aux: map[string]netip.Addr{"a": netip.MustParseAddr("192.0.2.3")}, Subnets: []Subnet{subnet("198.51.100.0/24")}}, "in none of the subnets"},
		{Network{Aux: map[string]netip.Addr{"a": netip.MustParseAddr("198.51.100.1")}, Subnets: []Subnet{subnet("198.51.100.0/24")}}, "is the gateway"},
		{Network{Driver: Macvlan}, "driver macvlan: "},
		{Network{Routes: []Route{{To: netip.MustParsePrefix("10.0.0.0/8"), Gateway: netip.MustParseAddr("192.0.2.3")}}}, "in no subnet"},
		{opt(Bridge, "nonsense", "1"), `driver bridge has no option "nonsense"`},
		{opt(Bridge, "parent", "eth0"), "it is one of macvlan and ipvlan"},
		{opt(Macvlan, "isolate", "true"), "it is one of bridge"},
		{opt(Bridge, "mtu", "12"), "option mtu"},
		{opt(Bridge, "mtu", "1000"), "IPv6 needs 1280"},
		{opt(Bridge, "isolate", "maybe"), "option isolate"},
		{opt(Bridge, "vlan", "4095"), "option vlan"},
		{opt(Bridge, "com.docker.network.bridge.name", "much-too-long-name"), "invalid interface name"},
		{opt(Bridge, "com.docker.network.bridge.name", first.Interface), "is that of network first"},
		{opt(Bridge, "com.docker.network.bridge.gateway_mode_ipv4", "routed"), "not supported"},
		{opt(Macvlan, "mode", "l2"), `"l2" is not supported`},
		{opt(Ipvlan, "ipvlan_mode", "vepa"), `"vepa" is not supported`},
	} {
		n, err := s.Create(Spec{Network: test.n})
		if err == nil {
			t.Errorf("%+v was made: %+v", test.n, n)
			s.Remove(n.Name)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %q, want %q", test.n, err, test.want)
		}
	}
	all, err := s.own()
	if entries, _ := os.ReadDir(s.path()); err != nil || len(all) != 1 || len(entries) > 2 {
		t.Errorf("left %v, %v, %v", entries, all, err)
	}
	for _, spec := range []Spec{{NoIPv4: true, NoIPv6: true}, {NoIPv4: true, Network: Network{Subnets: []Subnet{subnet("192.0.2.0/24")}}}} {
		if _, err := s.Create(spec); err == nil {
			t.Errorf("%+v was made", spec)
		}
	}
}

func TestFamilies(t *testing.T) {
	s := newStore(t)
	four, six := []Subnet{subnet("192.0.2.0/24")}, []Subnet{subnet("2001:db8::/64")}
	for _, test := range []struct {
		spec         Spec
		want4, want6 bool
	}{
		{Spec{}, true, true},
		{Spec{NoIPv6: true}, true, false},
		{Spec{NoIPv4: true}, false, true},
		{Spec{Network: Network{Subnets: four}}, true, false},
		{Spec{Network: Network{Subnets: six}}, false, true},
		{Spec{IPv6: true, Network: Network{Subnets: four}}, true, true},
		{Spec{IPv4: true, Network: Network{Subnets: six}}, true, true},
	} {
		n := create(t, s, test.spec)
		if n.hasFamily(false) != test.want4 || n.hasFamily(true) != test.want6 {
			t.Errorf("%+v: %+v", test.spec, n.Subnets)
		}
		sb := claim(t, s, id(1), Request{Network: n.Name})
		if len(sb.Endpoints[0].Addresses) != len(n.Subnets) {
			t.Errorf("%+v", sb.Endpoints)
		}
		if err := errors.Join(s.Release(id(1)), s.Remove(n.ID)); err != nil {
			t.Error(err)
		}
	}
}

func TestOptions(t *testing.T) {
	s := newStore(t)
	s.Defaults = func() (Defaults, error) {
		return Defaults{Pools: []Pool{{netip.MustParsePrefix("192.168.0.0/24"), 28}}, Options: map[string]string{"mtu": "1400", "isolate": "true"}}, nil
	}
	n := create(t, s, Spec{Network: Network{Options: map[string]string{
		"mtu": "1300", "com.docker.network.bridge.enable_icc": "false", "com.docker.network.bridge.enable_ip_masquerade": "false",
		"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1", "com.docker.network.container_iface_prefix": "net", "metric": "7", "no_default_route": "1",
	}}})
	if n.MTU != 1300 || !n.Isolated || !n.NoICC || !n.NoMasquerade || n.Subnets[0].Prefix.String() != "192.168.0.0/28" {
		t.Errorf("%+v", n)
	}
	sb, err := s.Claim(id(1), "c", []Request{{Network: n.ID}}, []Port{{HostPort: 81, ContainerPort: 81, Protocol: "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	e := sb.Endpoints[0]
	if e.MTU != 1300 || !e.Isolated || !e.NoICC || !e.NoMasquerade || e.Interface != "net0" || e.Metric != 7 || !e.NoDefault {
		t.Errorf("%+v", e)
	}
	if sb.Ports[0].Host.String() != "127.0.0.1" {
		t.Errorf("%+v", sb.Ports)
	}
}

// Subnets are cut from the pools until nothing is left, and what is removed can be had again.
func TestExhaustedPools(t *testing.T) {
	s := newStore(t)
	s.Defaults = func() (Defaults, error) {
		return Defaults{Pools: []Pool{{netip.MustParsePrefix("192.0.2.0/28"), 30}, {netip.MustParsePrefix("198.51.100.0/30"), 30}}}, nil
	}
	var made []*Network
	for i := range 6 {
		n, err := s.Create(Spec{NoIPv6: true})
		if i < 5 && err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			if !errors.Is(err, errExhausted) {
				t.Fatalf("a sixth: %+v, %v", n, err)
			}
			break
		}
		made = append(made, n)
	}
	if err := s.Remove(made[2].Name); err != nil {
		t.Fatal(err)
	}
	if n := create(t, s, Spec{NoIPv6: true}); n.Subnets[0].Prefix != made[2].Subnets[0].Prefix || n.Name != "network3" {
		t.Errorf("%+v", n)
	}
	large := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")}
	if p, err := cut(DefaultPools(), large); err != nil || p.String() != "192.168.0.0/24" {
		t.Errorf("%s, %v", p, err)
	}
}

// Subnets keep clear of what the host has or reaches.
func TestHostRoutes(t *testing.T) {
	ns, other := env.TestNetns(t), env.TestNetns(t)
	for _, wire := range [][]string{{"wire0", "10.89.0.7/16", "2001:db8:7::7/64"}, {"br7", "192.0.2.1/24"}} {
		if err := env.Wire(ns, wire[0], wire[1:], other, wire[0], nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"10.90.0.0/24", "default", "0.0.0.0/1"} {
		if err := ns.IP("route", "add", to, "via", "10.89.0.1"); err != nil {
			t.Fatal(err)
		}
	}
	ns.Do(func() {
		s := newStore(t)
		s.host = nil
		n, err := s.Create(Spec{})
		if err != nil || n.Subnets[0].Prefix.String() != "10.90.1.0/24" {
			t.Errorf("%+v, %v", n, err)
		}
		for _, p := range []string{"10.89.4.0/24", "2001:db8:7::/64", "2001:db8::/32"} {
			if _, err := s.Create(Spec{Network: Network{Subnets: []Subnet{subnet(p)}}}); err == nil || !strings.Contains(err.Error(), "which the host has at wire0") {
				t.Errorf("%s: %v", p, err)
			}
		}
		// What is behind a gateway may be had by who asks for it, and so may an own bridge's and, on the parent's wire, its.
		for _, spec := range []Spec{
			{Network: Network{Subnets: []Subnet{subnet("10.90.0.0/24")}}},
			{Network: Network{Subnets: []Subnet{subnet("192.0.2.0/24")}, Options: map[string]string{"com.docker.network.bridge.name": "br7"}}},
			{Network: Network{Driver: Macvlan, Subnets: []Subnet{subnet("10.89.0.0/16")}}},
		} {
			n, err := s.Create(spec)
			if err != nil {
				t.Error(err)
			} else if n.Driver == Macvlan && n.Interface != "wire0" {
				t.Errorf("%+v", n)
			}
		}
	})
}

// A record that cannot be read is told of, and goes by rm.
func TestDamagedNetwork(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "a"}})
	if err := os.WriteFile(s.path("a", networkFile), []byte(`{"name":"b"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if err := s.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if all, err := s.own(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}
