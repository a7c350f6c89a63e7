package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Find returns the container with this id, or this name, or the only one whose
// id begins so. Its error is ErrNotFound or ErrAmbiguous.
func (e *Engine) Find(name string) (*Container, error) {
	if isID(name) {
		return e.touch(name)
	}
	if CheckName(name) != nil {
		return nil, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	if id, err := e.owner(nameDir, name); err == nil && isID(id) {
		c, err := e.touch(id)
		if err == nil && c.Name == name {
			return c, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if !e.holds(nameDir, name, id) {
			if err := e.free(nameDir, name, id); err != nil {
				return nil, err
			}
		}
	}
	id, err := e.byPrefix(name)
	if err != nil {
		return nil, err
	}
	return e.touch(id)
}

func (e *Engine) byPrefix(prefix string) (string, error) {
	if !isIDPrefix(prefix) {
		return "", fmt.Errorf("%w: %s", ErrNotFound, prefix)
	}
	entries, err := os.ReadDir(e.path(containerDir))
	if err != nil {
		return "", err
	}
	found := ""
	for _, entry := range entries {
		if id := entry.Name(); isID(id) && strings.HasPrefix(id, prefix) {
			if found != "" {
				return "", fmt.Errorf("%w: %s (%.12s, %.12s)", ErrAmbiguous, prefix, found, id)
			}
			found = id
		}
	}
	if found == "" {
		return "", fmt.Errorf("%w: %s", ErrNotFound, prefix)
	}
	return found, nil
}

// List returns all containers, the newest first, after it freed what killed
// commands left behind.
func (e *Engine) List() ([]*Container, error) {
	entries, err := os.ReadDir(e.path(containerDir))
	if err != nil {
		return nil, err
	}
	var list []*Container
	known := make(map[string]*Container)
	for _, entry := range entries {
		if !isID(entry.Name()) {
			continue
		}
		c, err := e.touch(entry.Name())
		if errors.Is(err, ErrNotFound) {
			continue // removed, or not made yet
		}
		if err != nil {
			return nil, err
		}
		list = append(list, c)
		known[c.ID] = c
	}
	for _, dir := range []string{nameDir, idRangeDir} {
		if err := e.sweep(dir, known); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b *Container) int { return b.Created.Compare(a.Created) })
	return list, nil
}
