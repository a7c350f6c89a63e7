package network

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// namesOf are what a container is found by in a network, as files are called: its
// name, if it can be a host's, the beginning of its id, and its aliases.
func namesOf(sb *Sandbox, aliases []string) ([]string, error) {
	names := []string{ShortID(sb.Container)}
	if name, err := AppendName(nil, sb.Name); err == nil {
		names = append(names, string(name))
	}
	for _, alias := range aliases {
		if err := CheckAlias(alias); err != nil {
			return nil, err
		}
		name, _ := AppendName(nil, alias)
		names = append(names, string(name))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// takeNames lets a member be found by its names. Each is a link of one file, so
// that nobody reads a part of it.
func takeNames(dir string, m *Member) error {
	var lines strings.Builder
	for _, p := range m.Endpoint.Addresses {
		lines.WriteString(p.Addr().String() + "\n")
	}
	draft, _ := drafts(dir, m.Container)
	if err := os.WriteFile(draft, []byte(lines.String()), 0o600); err != nil {
		return err
	}
	defer os.Remove(draft)
	for _, name := range m.Names {
		if err := addName(filepath.Join(dir, nameDir, name), draft, m.Container); err != nil {
			return err
		}
	}
	return nil
}

func addName(dir, draft, container string) error {
	for {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		err := os.Link(draft, filepath.Join(dir, container))
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		// The last other container of this name has given it up in this moment.
	}
}

// dropName gives up a name.
func dropName(dir, container string) error {
	err := remove(filepath.Join(dir, container))
	os.Remove(dir) // unless others have the name
	return err
}

// remove removes a file that may be gone.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Rename lets a container be found by its new name, and no longer by the old one.
func (s *Store) Rename(container, name string) error {
	networks, err := names(s.Dir(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for network := range networks {
		m, missing := s.Member(network, container)
		if errors.Is(missing, os.ErrNotExist) {
			continue
		}
		err = errors.Join(err, missing)
		if missing == nil {
			err = errors.Join(err, s.renameIn(m, name))
		}
	}
	return err
}

// renameIn has all names on record, old and new, while it changes them, so that
// Release would find them.
func (s *Store) renameIn(m *Member, name string) error {
	old := m.Names
	wanted, err := namesOf(&Sandbox{Container: m.Container, Name: name}, m.Endpoint.Aliases)
	if err != nil {
		return err
	}
	dir := s.Dir(m.Endpoint.NetworkID)
	m.Names = append(slices.Clone(old), wanted...)
	if err := m.write(dir); err != nil {
		return err
	}
	m.Name, m.Names = name, wanted
	if err := takeNames(dir, m); err != nil {
		return err
	}
	for _, name := range old {
		if !slices.Contains(wanted, name) {
			if err := dropName(filepath.Join(dir, nameDir, name), m.Container); err != nil {
				return err
			}
		}
	}
	return m.write(dir)
}
