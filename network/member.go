package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"loper.run/internal/quickjson"
)

// The directories and files of what containers have taken of a network.
const (
	endpointDir = "endpoint"
	addressDir  = "address"
	nameDir     = "name"
)

// Member is endpoint/CONTAINER: a container's place in a network.
//
//easyjson:json
type Member struct {
	Container string   `json:"container"` // its id
	Name      string   `json:"name"`      // of the container
	Names     []string `json:"names"`     // all that it is found by, in lower case
	Endpoint  Endpoint `json:"endpoint"`
}

// ShortID is the beginning of an id that a container is found by.
func ShortID(id string) string { return id[:min(12, len(id))] }

// Member is what a container has of a network. errors.Is(err, os.ErrNotExist): nothing,
// or nothing yet.
func (s *Store) Member(networkID, container string) (*Member, error) {
	if !isID(networkID) || !isID(container) {
		return nil, fmt.Errorf("container %q of network %q: %w", container, networkID, os.ErrNotExist)
	}
	path := filepath.Join(s.Dir(networkID), endpointDir, container)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if unfinished(data) {
		return nil, fmt.Errorf("%s: %w", path, os.ErrNotExist)
	}
	m := new(Member)
	if err := quickjson.Decode(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// unfinished reports whether an endpoint's file is the one that its claims are
// made with: nothing but the container's id, or not even that.
func unfinished(data []byte) bool { return len(data) == 0 || data[0] != '{' }

// Members are the containers that have a place in a network, by their names.
func (s *Store) Members(n *Network) ([]*Member, error) {
	ids, err := s.memberIDs(n.ID)
	if err != nil {
		return nil, err
	}
	var list []*Member
	for _, id := range ids {
		m, err := s.Member(n.ID, id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Member) int { return strings.Compare(a.Name+"/"+a.Container, b.Name+"/"+b.Container) })
	return list, nil
}

// memberIDs are the containers that have anything of a network, or are about to.
func (s *Store) memberIDs(networkID string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.Dir(networkID), endpointDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var ids []string
	for _, entry := range entries {
		if isID(entry.Name()) {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// drafts are files that are not seen yet, of a container's names and of its endpoint.
func drafts(dir, container string) (names, endpoint string) {
	names = filepath.Join(dir, endpointDir, "."+container)
	return names, names + ".json"
}

// write makes a member, which was only claims until now, be seen. There is one
// writer for a container, and Release knows the draft.
func (m *Member) write(dir string) error {
	data, err := quickjson.Encode(m)
	if err != nil {
		return err
	}
	_, draft := drafts(dir, m.Container)
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, filepath.Join(dir, endpointDir, m.Container))
}
