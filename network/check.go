package network

import (
	"errors"
	"os"
)

// Check tells of networks that are damaged and, on the way, takes from
// containers that have ended what they had.
func (s *Store) Check(report func(name string, err error)) error {
	entries, err := os.ReadDir(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if CheckName(entry.Name()) != nil {
			continue
		}
		n, err := s.read(entry.Name())
		if err == nil {
			err = s.reclaim(n)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			report(entry.Name(), err)
		}
	}
	return nil
}
