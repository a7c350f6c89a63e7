package network

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestClaimRefuses(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "net", Subnets: []Subnet{subnet("192.0.2.0/29")}, Aux: map[string]netip.Addr{"router": netip.MustParseAddr("192.0.2.6")}}})
	claim(t, s, id(1), Request{Network: "net", IP: netip.MustParseAddr("192.0.2.3")})
	with := func(ip string) Request { return Request{Network: "net", IP: netip.MustParseAddr(ip)} }
	for _, test := range []struct {
		requests []Request
		ports    []Port
		want     string
	}{
		{[]Request{with("192.0.2.3")}, nil, "address is taken: 192.0.2.3 by container c" + id(1)[60:]},
		{[]Request{with("192.0.2.1")}, nil, "is the gateway"},
		{[]Request{with("192.0.2.6")}, nil, "the auxiliary address router"},
		{[]Request{with("192.0.2.0")}, nil, "address of the subnet"},
		{[]Request{with("192.0.2.7")}, nil, "broadcast"},
		{[]Request{with("192.0.3.3")}, nil, "not in the subnet 192.0.2.0/29"},
		{[]Request{with("::ffff:192.0.2.4")}, nil, "no subnet that"},
		{[]Request{{Network: "net", IP6: netip.MustParseAddr("2001:db8::1")}}, nil, "no subnet that"},
		{[]Request{{Network: "net", IP6: netip.MustParseAddr("192.0.2.4")}}, nil, "--ip6 an IPv6 address"},
		{[]Request{{Network: "net"}, {Network: "net"}}, nil, "connected already: to network net"},
		{[]Request{{Network: "nothing"}}, nil, "no such network: nothing"},
		{[]Request{{Network: "host"}}, nil, "pre-defined"},
		{[]Request{{Network: "none"}}, nil, "pre-defined"},
		{[]Request{{Network: "net", Aliases: []string{"a/../b"}}}, nil, "invalid alias"},
		{[]Request{{Network: "net", MAC: "01:00:00:00:00:01"}}, nil, "not that of one host"},
		{[]Request{{Network: "net", MAC: "02:00:00:00:00"}}, nil, "invalid MAC"},
		{[]Request{{Network: "net", Interface: "a/b"}}, nil, "invalid interface"},
		{[]Request{{Network: "net", Interface: "x"}, {Network: Bridge, Interface: "x"}}, nil, "two interfaces"},
		{nil, []Port{{ContainerPort: 80, Protocol: "icmp"}}, `protocol "icmp"`},
		{nil, []Port{{HostPort: 80, Protocol: "tcp"}}, "no such port"},
		{nil, []Port{{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}, {Host: netip.MustParseAddr("127.0.0.1"), HostPort: 80, ContainerPort: 81, Protocol: "tcp"}}, "asked for twice"},
	} {
		sb, err := s.Claim(id(2), "two", test.requests, test.ports)
		if err == nil {
			t.Errorf("%+v: %+v", test.requests, sb)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %q, want %q", test.requests, err, test.want)
		}
	}
	if err := s.Release(id(1)); err != nil {
		t.Fatal(err)
	}
	empty(t, s)
}

// More ports than there are to choose from, as an image may expose them, are refused at once.
func TestVeryManyPorts(t *testing.T) {
	s := newStore(t)
	var ports []Port
	for i := range 65535 {
		ports = append(ports, Port{ContainerPort: uint16(i + 1), Protocol: "tcp"})
	}
	begun := time.Now()
	if _, err := s.Claim(id(1), "one", nil, ports); err == nil || !strings.Contains(err.Error(), "more than 16383/tcp ports") {
		t.Errorf("65535 ports: %v", err)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	empty(t, s)
}

func TestExhaustedSubnet(t *testing.T) {
	s := newStore(t)
	n := create(t, s, Spec{Network: Network{Name: "net", Subnets: []Subnet{subnet("192.0.2.0/28"), subnet("2001:db8::/64")}}})
	dead := map[string]bool{}
	s.Gone = func(id string) bool { return dead[id] }
	got := map[netip.Addr]bool{}
	for i := range 13 {
		sb := claim(t, s, id(i), Request{Network: "net"})
		got[sb.Endpoints[0].Addresses[0].Addr()] = true
	}
	if len(got) != 13 {
		t.Errorf("%v", got)
	}
	if sb, err := s.Claim(id(20), "late", []Request{{Network: "net"}}, nil); !errors.Is(err, errFull) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a 14th: %+v, %v", sb, err)
	}
	// A container that ended without a word makes room.
	dead[id(5)] = true
	if sb := claim(t, s, id(20), Request{Network: "net"}); sb.Endpoints[0].Addresses[0].String() != "192.0.2.7/28" {
		t.Errorf("%+v", sb)
	}
	// So does one whose address somebody asks for.
	dead[id(6)] = true
	claim(t, s, id(21), Request{Network: "net", IP: netip.MustParseAddr("192.0.2.8")})
	members, err := s.Members(n)
	if err != nil || len(members) != 13 {
		t.Errorf("%v, %v", members, err)
	}
}

func TestIPRange(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "net", Subnets: []Subnet{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Range: netip.MustParsePrefix("192.0.2.252/30")}}}})
	for i, want := range []string{"192.0.2.252/24", "192.0.2.253/24", "192.0.2.254/24"} {
		if sb := claim(t, s, id(i), Request{Network: "net"}); sb.Endpoints[0].Addresses[0].String() != want {
			t.Errorf("%+v, want %s", sb, want)
		}
	}
	if _, err := s.Claim(id(4), "", []Request{{Network: "net"}}, nil); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	claim(t, s, id(4), Request{Network: "net", IP: netip.MustParseAddr("192.0.2.9")})
}

func TestPorts(t *testing.T) {
	s := newStore(t)
	ports := func(list ...Port) []Port { return list }
	tcp := func(host string, from, to uint16) Port {
		p := Port{HostPort: from, HostEnd: to, ContainerPort: 80, Protocol: "tcp"}
		if host != "" {
			p.Host = netip.MustParseAddr(host)
		}
		return p
	}
	for i, test := range []struct {
		ports []Port
		want  string // or the error
	}{
		{ports(tcp("127.0.0.1", 80, 0)), "[127.0.0.1:80/tcp]"},
		{ports(tcp("127.0.0.2", 80, 0)), "[127.0.0.2:80/tcp]"},
		{ports(tcp("127.0.0.1", 80, 0)), "port is taken: 127.0.0.1:80/tcp by container"},
		{ports(tcp("", 80, 0)), "port is taken: 80/tcp by container"},
		{ports(tcp("0.0.0.0", 80, 0)), "port is taken: 0.0.0.0:80/tcp by container"},
		{ports(tcp("::", 80, 0)), "[[::]:80/tcp]"},
		{ports(tcp("::1", 80, 0)), "port is taken: [::1]:80/tcp by container"},
		{ports(Port{HostPort: 80, ContainerPort: 80, Protocol: "udp"}), "[80/udp]"},
		{ports(tcp("", 80, 82)), "[81/tcp]"},
		{ports(tcp("", 80, 82), tcp("", 82, 0)), "port is taken: all of 80-82/tcp are"},
		{ports(tcp("", 0, 0), tcp("", 49153, 0)), "[49154/tcp 49153/tcp]"},
		{ports(tcp("", 0, 0)), "[49155/tcp]"},
		{ports(tcp("::ffff:127.0.0.1", 80, 0)), "port is taken: 127.0.0.1:80/tcp by container"},
	} {
		sb, err := s.Claim(id(i), "c", nil, test.ports)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(sb.Ports)
		}
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%+v: %s, want %s", test.ports, got, test.want)
		}
	}
	s.PortInUse = func(p Port) error {
		if p.HostPort < 9003 {
			return errors.New("nginx has it")
		}
		return nil
	}
	if sb, err := s.Claim(id(50), "c", nil, ports(tcp("", 9000, 9010))); err != nil || sb.Ports[0].HostPort != 9003 {
		t.Errorf("%+v, %v", sb, err)
	}
	s.Gone = func(c string) bool { return c == id(0) }
	if _, err := s.Claim(id(51), "c", nil, ports(tcp("127.0.0.1", 80, 0))); err == nil || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("%v", err) // of a container that has ended it was not
	}
	for i := range 60 {
		if err := s.Release(id(i)); err != nil {
			t.Fatal(err)
		}
	}
	empty(t, s)
}

func TestConnectAndDisconnect(t *testing.T) {
	s := newStore(t)
	a, b := create(t, s, Spec{Network: Network{Name: "a"}}), create(t, s, Spec{Network: Network{Name: "b"}})
	sb := claim(t, s, id(1), Request{Network: "a", Aliases: []string{"x"}})
	if _, err := s.ConnectOne(sb, Request{Network: "b"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ConnectOne(sb, Request{Network: b.ID}); !errors.Is(err, ErrConnected) || len(sb.Endpoints) != 2 {
		t.Errorf("%v, %+v", err, sb)
	}
	if sb.Endpoints[1].Interface != "eth1" || sb.Endpoints[0].HostInterface == sb.Endpoints[1].HostInterface || sb.Endpoints[0].MAC == sb.Endpoints[1].MAC {
		t.Errorf("%+v", sb.Endpoints)
	}
	if err := s.Remove("a"); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), sb.Name) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := s.DisconnectOne(sb, a.ID); err != nil {
			t.Fatal(err)
		}
	}
	if len(sb.Endpoints) != 1 || sb.Endpoints[0].Network != "b" {
		t.Errorf("%+v", sb.Endpoints)
	}
	if e, err := s.ConnectOne(sb, Request{Network: "a"}); err != nil || e.Interface != "eth0" {
		t.Errorf("%+v, %v", e, err)
	}
	if err := s.Release(id(1)); err != nil {
		t.Fatal(err)
	}
	empty(t, s)
}

func TestRename(t *testing.T) {
	s := newStore(t)
	n := create(t, s, Spec{Network: Network{Name: "a"}})
	sb := claim(t, s, id(1), Request{Network: "a", Aliases: []string{"x", "New"}}, Request{Network: Bridge})
	old := sb.Name
	if err := s.Rename(id(1), "New"); err != nil {
		t.Fatal(err)
	}
	found, err := names(filepath.Join(s.Dir(n.ID), "name"))
	if err != nil || !found["new"] || !found["x"] || !found[ShortID(id(1))] || found[old] || len(found) != 3 {
		t.Errorf("%v, %v", found, err)
	}
	for _, network := range []string{n.ID, sb.Endpoints[1].NetworkID} {
		if m, err := s.Member(network, id(1)); err != nil || m.Name != "New" {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if err := errors.Join(s.Rename(id(2), "nobody"), s.Release(id(1))); err != nil {
		t.Fatal(err)
	}
	empty(t, s)
}

func TestRemoveAndPrune(t *testing.T) {
	s := newStore(t)
	var down []string
	s.TearDown = func(n *Network) error { down = append(down, n.Name); return nil }
	for _, name := range []string{"a", "b", "c"} {
		create(t, s, Spec{Network: Network{Name: name}})
	}
	for _, name := range []string{Bridge, Host, None} {
		if err := s.Remove(name); !errors.Is(err, ErrPredefined) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Remove("nothing"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	claim(t, s, id(1), Request{Network: "a"})
	match := func(n *Network) bool { return n.Name != "c" }
	if names, err := s.Prune(match, true); err != nil || !slices.Equal(names, []string{"b"}) || len(down) > 0 {
		t.Errorf("%v, %v, %v", names, err, down)
	}
	if names, err := s.Prune(match, false); err != nil || !slices.Equal(names, []string{"b"}) || !slices.Equal(down, []string{"b", Bridge}) {
		t.Errorf("%v, %v, %v", names, err, down)
	}
	claim(t, s, id(2), Request{Network: Bridge})
	down = nil
	if names, err := s.Prune(match, false); err != nil || len(names)+len(down) > 0 {
		t.Errorf("%v, %v, %v", names, err, down)
	}
	s.TearDown = func(*Network) error { return errors.New("no") }
	if err := s.Remove("c"); err == nil {
		t.Error("it was removed though its bridge is there")
	}
	if _, err := s.Get("c"); err != nil {
		t.Error(err)
	}
}
