package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

var errTaken = errors.New("address is taken")

// takeAddress takes the wanted address of a subnet, or the next that is free
// behind the one that was given last.
func (s *Store) takeAddress(n *Network, sub *Subnet, container string, want netip.Addr) (netip.Addr, error) {
	if want.IsValid() {
		return want, s.takeWanted(n, sub, container, want)
	}
	a, err := s.takeNext(n, sub, container)
	if errors.Is(err, errFull) {
		if err := s.reclaim(n); err != nil {
			return a, err
		}
		a, err = s.takeNext(n, sub, container)
	}
	return a, err
}

func (s *Store) takeWanted(n *Network, sub *Subnet, container string, want netip.Addr) error {
	if err := sub.usable(want); err != nil {
		return err
	}
	if name := n.reserved(sub, want); name != "" {
		return fmt.Errorf("%w: %s is %s", errTaken, want, name)
	}
	for try := 0; ; try++ {
		err := s.link(n, container, want)
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		owner, err := os.ReadFile(filepath.Join(s.Dir(n.ID), addressDir, want.String()))
		if errors.Is(err, os.ErrNotExist) {
			continue // given up in this moment
		}
		if err != nil {
			return err
		}
		if try == 0 && s.gone(string(owner)) {
			if err := s.Release(string(owner)); err != nil {
				return err
			}
			continue
		}
		return fmt.Errorf("%w: %s by container %s", errTaken, want, s.nameOf(n, string(owner)))
	}
}

// reserved says what an address is that no container gets; "" if any may.
func (n *Network) reserved(sub *Subnet, a netip.Addr) string {
	if a == sub.Gateway {
		return "the gateway"
	}
	for name, other := range n.Aux {
		if other == a {
			return "the auxiliary address " + name
		}
	}
	return ""
}

// link takes an address for a container that has begun to.
func (s *Store) link(n *Network, container string, a netip.Addr) error {
	dir := s.Dir(n.ID)
	return os.Link(filepath.Join(dir, endpointDir, container), filepath.Join(dir, addressDir, a.String()))
}

var errFull = errors.New("no address is left")

// takeNext takes the next free address behind the last one, around the end.
func (s *Store) takeNext(n *Network, sub *Subnet, container string) (netip.Addr, error) {
	first, end := sub.Prefix.Addr(), last(sub.Prefix)
	if sub.Range.IsValid() {
		first, end = sub.Range.Addr(), last(sub.Range)
	}
	dir, file := s.Dir(n.ID), "last4"
	if first.Is6() {
		file = "last6"
	}
	data, _ := os.ReadFile(filepath.Join(dir, file))
	at, err := netip.ParseAddr(string(data))
	if err != nil || at.Less(first) || end.Less(at) {
		at = end
	}
	// When many are taken, a list of them is quicker than trying each.
	var taken map[string]bool
	start, misses := at, 0
	for {
		if at == end {
			at = first
		} else {
			at = at.Next()
		}
		if sub.usable(at) == nil && n.reserved(sub, at) == "" && !taken[at.String()] {
			err := s.link(n, container, at)
			if err == nil {
				return at, os.WriteFile(filepath.Join(dir, file), []byte(at.String()), 0o600)
			}
			if !errors.Is(err, os.ErrExist) {
				return at, err
			}
			if misses++; misses == 8 {
				if taken, err = names(filepath.Join(dir, addressDir)); err != nil {
					return at, err
				}
			}
		}
		if at == start {
			return at, fmt.Errorf("%w in %s: %d are taken", errFull, sub.Prefix, len(taken))
		}
	}
}

// names are the entries of a directory.
func names(dir string) (map[string]bool, error) {
	entries, err := os.ReadDir(dir)
	set := make(map[string]bool, len(entries))
	for _, entry := range entries {
		set[entry.Name()] = true
	}
	return set, err
}

func (s *Store) gone(container string) bool {
	return s.Gone != nil && isID(container) && s.Gone(container)
}

// reclaim gives up what containers have that have ended.
func (s *Store) reclaim(n *Network) error {
	ids, err := s.memberIDs(n.ID)
	for _, id := range ids {
		if err == nil && s.gone(id) {
			err = s.Release(id)
		}
	}
	return err
}

// nameOf is what people call a container.
func (s *Store) nameOf(n *Network, container string) string {
	if m, err := s.Member(n.ID, container); err == nil && m.Name != "" {
		return m.Name
	}
	return ShortID(container)
}
