package network

import "testing"

func BenchmarkClaim(b *testing.B) {
	s := newStore(b)
	n := create(b, s, Spec{Network: Network{Name: "net"}})
	ports := []Port{{ContainerPort: 80, Protocol: "tcp"}}
	for b.Loop() {
		if _, err := s.Claim(id(1), "c", []Request{{Network: n.Name}}, ports); err != nil {
			b.Fatal(err)
		}
		if err := s.Release(id(1)); err != nil {
			b.Fatal(err)
		}
	}
}
