package image

import (
	"fmt"
	"strings"

	"loper.run/image/reference"
	"loper.run/image/registry/conf"
	"loper.run/image/store"
)

// longName returns the full name under which the store has what a short name
// stands for by registries.conf, or else the name itself. What the store has by
// Docker's own reading of the name comes first: it costs no configuration.
func (s *Store) longName(name string) string {
	ref, err := reference.Parse(name)
	if err != nil || !conf.IsShort(name) {
		return name
	}
	if _, err := s.lookup(ref); !isNotExist(err) {
		return name
	}
	if long, _, err := s.lookupShort(name); err == nil {
		return long
	}
	return name
}

// lookupShort finds what the store has of the full names that a short one may
// stand for.
func (s *Store) lookupShort(name string) (long string, n store.Name, err error) {
	err = notFound(name)
	if _, parseErr := reference.Parse(name); parseErr != nil || !conf.IsShort(name) {
		return "", n, err // an id perhaps
	}
	config, confErr := conf.Load(conf.DefaultPaths())
	if confErr != nil {
		return "", n, confErr
	}
	candidates, candErr := config.Candidates(name)
	if candErr != nil {
		return "", n, candErr
	}
	for _, c := range candidates {
		if n, err := s.lookup(c.Ref); err == nil {
			return c.Ref.String(), n, nil
		}
	}
	return "", n, err
}

// candidates lists the full names to try for a name, in order. chosen tells that
// somebody was asked, whose answer is to be remembered.
func candidates(name string, choose func(string, []string) (int, error)) (refs []reference.Reference, chosen bool, err error) {
	if !conf.IsShort(name) {
		ref, err := reference.Parse(name)
		return []reference.Reference{ref}, false, err
	}
	config, err := conf.Load(conf.DefaultPaths())
	if err != nil {
		return nil, false, err
	}
	all, err := config.Candidates(name)
	if err != nil {
		return nil, false, err
	}
	var names []string
	for _, c := range all {
		refs = append(refs, c.Ref)
		names = append(names, c.Ref.WithDefaultTag().String())
	}
	switch {
	case len(refs) == 1 || config.Mode == conf.Disabled:
		return refs, false, nil
	case choose != nil:
		i, err := choose(name, names)
		if err != nil {
			return nil, false, err
		}
		return refs[i : i+1], true, nil
	case config.Mode == conf.Enforcing:
		return nil, false, fmt.Errorf("the short name %s could be %s: give one of them (short-name-mode is enforcing, and there is no terminal to ask)", name, strings.Join(names, " or "))
	}
	return refs, false, nil
}
