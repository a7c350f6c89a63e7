package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func newStore(t testing.TB) *Store {
	t.Helper()
	dir := t.TempDir()
	s := &Store{Root: filepath.Join(dir, "root"), RunRoot: filepath.Join(dir, "run"), host: func() (*onHost, error) { return &onHost{}, nil }}
	for _, d := range []string{s.Root, s.RunRoot} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// id is the id of the i-th container of a test.
func id(i int) string { return fmt.Sprintf("%064x", i+0xabc000000000) + "" }

func create(t testing.TB, s *Store, spec Spec) *Network {
	t.Helper()
	n, err := s.Create(spec)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func claim(t testing.TB, s *Store, container string, requests ...Request) *Sandbox {
	t.Helper()
	sb, err := s.Claim(container, "c"+container[60:], requests, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sb
}

func subnet(prefix string) Subnet { return Subnet{Prefix: netip.MustParsePrefix(prefix)} }

func TestDefaultNetwork(t *testing.T) {
	s := newStore(t)
	n, err := s.Get(Bridge)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Subnets) != 2 || !n.Subnets[0].Prefix.Addr().Is4() || n.Subnets[1].Prefix.Bits() != 64 || n.Subnets[1].Prefix.Addr().As16()[0] != 0xfd {
		t.Errorf("subnets %+v", n.Subnets)
	}
	if n.Subnets[0].Gateway != n.Subnets[0].Prefix.Addr().Next() {
		t.Errorf("gateway %s", n.Subnets[0].Gateway)
	}
	for _, name := range []string{n.ID, n.ID[:12], n.ID[:3]} {
		if again, err := s.Get(name); err != nil || again.ID != n.ID {
			t.Errorf("Get(%s): %v", name, err)
		}
	}
	for _, name := range []string{"", "other", "../bridge", "-x", ".ula", strings.Repeat("0", 64)} {
		if _, err := s.Get(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v", name, err)
		}
	}
	all, err := s.List()
	if err != nil || len(all) != 3 || all[0].Name != Bridge || all[1].Name != Host || all[2].Name != None {
		t.Errorf("%v, %v", all, err)
	}
}

func TestClaimAndRelease(t *testing.T) {
	s := newStore(t)
	n := create(t, s, Spec{Network: Network{Name: "net", Subnets: []Subnet{subnet("10.1.2.0/24"), subnet("fd00:1::/64")}}})
	sb, err := s.Claim(id(1), "Web", []Request{{Network: "net", Aliases: []string{"www", "db.example.org"}}}, []Port{{HostPort: 80, ContainerPort: 80, Protocol: "tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	e := sb.Endpoints[0]
	if fmt.Sprint(e.Addresses) != "[10.1.2.2/24 fd00:1::2/64]" || fmt.Sprint(e.Gateways) != "[10.1.2.1 fd00:1::1]" || e.Interface != "eth0" || len(e.HostInterface) > 15 {
		t.Errorf("%+v", e)
	}
	for _, name := range []string{"web", "www", "db.example.org", id(1)[:12]} {
		data, err := os.ReadFile(filepath.Join(s.Dir(n.ID), "name", name, id(1)))
		if err != nil || string(data) != "10.1.2.2\nfd00:1::2\n" {
			t.Errorf("name %s: %q, %v", name, data, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.Dir(n.ID), "address", "fd00:1::2"))
	if err != nil || string(data) != id(1) {
		t.Errorf("address: %q, %v", data, err)
	}
	m, err := s.Member(n.ID, id(1))
	if err != nil || m.Name != "Web" || !slices.Contains(m.Names, "www") || m.Endpoint.MAC != e.MAC {
		t.Errorf("%+v, %v", m, err)
	}
	for range 2 {
		if err := s.Release(id(1)); err != nil {
			t.Fatal(err)
		}
	}
	empty(t, s)
	// The next one gets the next address, and then it goes on from the beginning.
	for i := 2; i < 400; i++ {
		sb := claim(t, s, id(i), Request{Network: "net"})
		if want := netip.AddrFrom4([4]byte{10, 1, 2, byte(2 + (i-1)%253)}); sb.Endpoints[0].Addresses[0].Addr() != want {
			t.Fatalf("the %d. gets %s, want %s", i, sb.Endpoints[0].Addresses[0], want)
		}
		if err := s.Release(id(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// empty checks that containers have nothing of any network.
func empty(t testing.TB, s *Store) {
	t.Helper()
	err := filepath.WalkDir(s.RunRoot, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "last") && d.Name() != ".last" {
			t.Errorf("left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(s.RunRoot, "network/*/name/*"))
	ports, _ := filepath.Glob(filepath.Join(s.RunRoot, "network/port/*-*"))
	if len(left)+len(ports) > 0 {
		t.Errorf("left: %v %v", left, ports)
	}
}
