package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSubnets(t *testing.T) {
	list := func(words ...string) []string { return words }
	for _, test := range []struct {
		subnets, gateways, ranges []string
		want                      string // of the error; "": none
	}{
		{list("192.0.2.0/24", "2001:db8::/64"), list("2001:db8::1", "192.0.2.1"), list("192.0.2.128/25"), ""},
		{list("192.0.2.0"), nil, nil, `invalid subnet "192.0.2.0"`},
		{list("192.0.2.0/33"), nil, nil, "invalid subnet"},
		{list("192.0.2.0/24"), list("192.0.2.1", "192.0.2.2"), nil, "has one at most"},
		{list("192.0.2.0/24"), list("192.0.2.1/24"), nil, "invalid gateway"},
		{nil, list("192.0.2.1"), nil, "give the subnet"},
		{list("192.0.2.0/24"), list("198.51.100.1"), nil, "in none of the subnets"},
		{list("192.0.2.0/24"), nil, list("192.0.2.0/25", "192.0.2.128/25"), "has one at most"},
		{list("192.0.2.0/24"), nil, list("192.0.2.10-192.0.2.20"), "invalid --ip-range"},
		{nil, nil, list("192.0.2.0/25"), "in none of the subnets"},
	} {
		got, err := ParseSubnets(test.subnets, test.gateways, test.ranges)
		if test.want == "" {
			if err != nil || got[0].Gateway.String() != "192.0.2.1" || got[1].Gateway.String() != "2001:db8::1" || got[0].Range.Bits() != 25 {
				t.Errorf("%+v, %v", got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %+v, %v, want %s", test, got, err, test.want)
		}
	}
}

func TestParseRoute(t *testing.T) {
	if r, err := ParseRoute("10.21.0.0/24,192.168.1.1,100"); err != nil || r.Metric != 100 || r.To.String() != "10.21.0.0/24" || r.Gateway.String() != "192.168.1.1" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, word := range []string{"", "10.21.0.0/24", "10.21.0.1/24,192.168.1.1", "10.21.0.0/24,x", "10.21.0.0/24,192.168.1.1,0", "10.21.0.0/24,192.168.1.1,1,2", "10.21.0.0/24,fe80::1%eth0"} {
		if r, err := ParseRoute(word); err == nil {
			t.Errorf("%q: %+v", word, r)
		}
	}
}

// Whatever is accepted as a network can be used: a container gets an address in
// it that is nobody else's.
func FuzzNetwork(f *testing.F) {
	f.Add("192.0.2.0/24", "192.0.2.1", "192.0.2.0/25", "mtu", "1400", "02:00:00:00:00:01", "alias", "eth7")
	f.Add("2001:db8::/126", "2001:db8::2", "", "isolate", "true", "", "a.b", "")
	f.Add("10.0.0.0/30", "", "10.0.0.3/32", "com.docker.network.container_iface_prefix", "..", "ff:ff:ff:ff:ff:ff", "..", "a/b")
	f.Add("::ffff:10.0.0.0/120", "10.0.0.1", "", "vlan", "-1", "", "", "")
	f.Fuzz(func(t *testing.T, prefix, gateway, within, key, v, mac, alias, iface string) {
		words := func(s string) []string {
			if s == "" {
				return nil
			}
			return []string{s}
		}
		subnets, err := ParseSubnets(words(prefix), words(gateway), words(within))
		if err != nil {
			return
		}
		s := newStore(t)
		n, err := s.Create(Spec{NoIPv6: prefix == "", Network: Network{Name: "net", Subnets: subnets, Options: map[string]string{key: v}}})
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(prefix+gateway+within+key+v, "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		again, err := s.Get(n.ID)
		if err != nil || again.Name != "net" {
			t.Fatalf("%+v, %v", again, err)
		}
		sb, err := s.Claim(id(1), "c", []Request{{Network: "net", MAC: mac, Aliases: words(alias), Interface: iface}}, nil)
		if err == nil {
			for _, a := range sb.Endpoints[0].Addresses {
				sub := n.subnetOf(a.Addr())
				if sub == nil || sub.usable(a.Addr()) != nil || a.Addr() == sub.Gateway || sub.Range.IsValid() && !sub.Range.Contains(a.Addr()) {
					t.Errorf("%s in %+v", a, n.Subnets)
				}
			}
			if e := sb.Endpoints[0]; strings.ContainsAny(e.Interface+e.HostInterface, "/ ") || len(e.Interface) > 15 || len(e.HostInterface) > 15 {
				t.Errorf("%+v", e)
			}
		}
		if err := s.Release(id(1)); err != nil {
			t.Error(err)
		}
		empty(t, s)
		if entries, _ := os.ReadDir(filepath.Dir(s.Root)); len(entries) != 2 {
			t.Errorf("%v", entries)
		}
	})
}

// The run root goes with a reboot: networks stay, and nothing else is needed.
func TestReboot(t *testing.T) {
	s := newStore(t)
	create(t, s, Spec{Network: Network{Name: "net", Subnets: []Subnet{subnet("192.0.2.0/24")}}})
	claim(t, s, id(1), Request{Network: "net"}, Request{Network: Bridge})
	if err := os.RemoveAll(s.Dir("")); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(id(1)); err != nil {
		t.Error(err)
	}
	if sb := claim(t, s, id(2), Request{Network: "net"}); sb.Endpoints[0].Addresses[0] != netip.MustParsePrefix("192.0.2.2/24") {
		t.Errorf("%+v", sb)
	}
	if err := s.Release(id(2)); err != nil {
		t.Error(err)
	}
	if err := s.Remove("net"); err != nil {
		t.Error(err)
	}
}
