package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Release gives up all that a container has of networks, also what a killed
// command was about to take or to give up. It is no error when it has nothing.
func (s *Store) Release(container string) error {
	if !isID(container) {
		return fmt.Errorf("%q is not the id of a container", container)
	}
	entries, err := os.ReadDir(s.Dir(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if isID(entry.Name()) {
			err = errors.Join(err, s.releaseFrom(entry.Name(), container))
		}
	}
	return errors.Join(err, s.releasePorts(container))
}

// DisconnectOne gives up a container's place in one network and takes it out of
// the sandbox. It is no error when it has none there.
func (s *Store) DisconnectOne(sb *Sandbox, networkID string) error {
	if !isID(networkID) || !isID(sb.Container) {
		return fmt.Errorf("container %q of network %q: no such ids", sb.Container, networkID)
	}
	if err := s.releaseFrom(networkID, sb.Container); err != nil {
		return err
	}
	for i, e := range sb.Endpoints {
		if e.NetworkID == networkID {
			sb.Endpoints = append(sb.Endpoints[:i:i], sb.Endpoints[i+1:]...)
			break
		}
	}
	return nil
}

// releaseFrom gives up what a container has of one network. The endpoint's file
// goes last: as long as it is there, somebody may have to do this again.
func (s *Store) releaseFrom(networkID, container string) error {
	dir := s.Dir(networkID)
	path := filepath.Join(dir, endpointDir, container)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	m, err := s.Member(networkID, container)
	if err != nil { // unfinished, or damaged
		err = releaseUnfinished(dir, container)
	} else {
		for _, name := range m.Names {
			err = errors.Join(err, dropName(filepath.Join(dir, nameDir, name), container))
		}
		for _, p := range m.Endpoint.Addresses {
			err = errors.Join(err, dropAddress(filepath.Join(dir, addressDir, p.Addr().String()), container))
		}
	}
	a, b := drafts(dir, container)
	if err = errors.Join(err, remove(a), remove(b)); err != nil {
		return err
	}
	return remove(path)
}

// releaseUnfinished looks for what a container has of a network, since its
// endpoint doesn't tell.
func releaseUnfinished(dir, container string) error {
	taken, err := names(filepath.Join(dir, addressDir))
	for address := range taken {
		err = errors.Join(err, dropAddress(filepath.Join(dir, addressDir, address), container))
	}
	known, err2 := names(filepath.Join(dir, nameDir))
	err = errors.Join(err, err2)
	for name := range known {
		err = errors.Join(err, dropName(filepath.Join(dir, nameDir, name), container))
	}
	return err
}

// dropAddress gives up an address if it is the container's.
func dropAddress(path, container string) error {
	owner, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && string(owner) != container {
		return nil
	}
	if err != nil {
		return err
	}
	return remove(path)
}
