package network

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
)

// Remove removes a network that no container is connected to: ErrInUse names
// those that are.
func (s *Store) Remove(name string) error {
	n, err := s.Get(name)
	if errors.Is(err, ErrDamaged) && CheckName(name) == nil {
		return s.removeDamaged(name)
	}
	if err != nil {
		return err
	}
	if n.Predefined() {
		return fmt.Errorf("%s is a %w and cannot be removed", n.Name, ErrPredefined)
	}
	return s.unused(n, func() error {
		if s.TearDown != nil {
			if err := s.TearDown(n); err != nil {
				return err
			}
		}
		if err := s.erase(n.Name); err != nil {
			return err
		}
		return os.RemoveAll(s.Dir(n.ID))
	})
}

// unused calls f while the network is there and nobody can be connected to it.
func (s *Store) unused(n *Network, f func() error) error {
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	d, err := os.Open(s.path(n.Name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, n.Name)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := flock.Lock(d, unix.LOCK_EX); err != nil {
		return err
	}
	if again, err := s.read(n.Name); err != nil {
		return err
	} else if again.ID != n.ID {
		return fmt.Errorf("%w: %.12s", ErrNotFound, n.ID)
	}
	if err := s.reclaim(n); err != nil {
		return err
	}
	ids, err := s.memberIDs(n.ID)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		for i, id := range ids {
			ids[i] = s.nameOf(n, id)
		}
		return fmt.Errorf("network %s %w by container %s", n.Name, ErrInUse, strings.Join(ids, ", "))
	}
	return f()
}

// erase makes a network no longer be there: its record goes first.
func (s *Store) erase(name string) error {
	if err := remove(s.path(name, networkFile)); err != nil {
		return err
	}
	return os.RemoveAll(s.path(name))
}

// removeDamaged removes a network whose record cannot be read.
func (s *Store) removeDamaged(name string) error {
	lock, err := s.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := s.read(name); !errors.Is(err, ErrDamaged) {
		return err
	}
	return s.erase(name)
}

// Prune removes the networks that no container is connected to and that match,
// and returns their names. Of the default network it takes down what is in the
// kernel. With dry it only tells which.
func (s *Store) Prune(match func(*Network) bool, dry bool) ([]string, error) {
	all, err := s.own()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range all {
		if dry || n.Predefined() {
			ids, err := s.memberIDs(n.ID)
			if err != nil {
				return names, err
			}
			if len(ids) > 0 {
				continue
			}
		}
		switch {
		case n.Predefined():
			if !dry && s.TearDown != nil {
				err = s.unused(n, func() error { return s.TearDown(n) })
			}
		case !match(n):
			continue
		case !dry:
			err = s.Remove(n.ID)
		}
		if errors.Is(err, ErrInUse) || errors.Is(err, ErrNotFound) {
			continue // since a moment
		}
		if err != nil {
			return names, err
		}
		if !n.Predefined() {
			names = append(names, n.Name)
		}
	}
	return names, nil
}
