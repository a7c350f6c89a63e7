package conf

import (
	"fmt"
	"strings"
)

// check refuses what has no meaning, and puts locations into one form.
func (c *Config) check(file string) error {
	for i := range c.Registries {
		r := &c.Registries[i]
		if err := r.check(); err != nil {
			if r.Line > 0 {
				return fmt.Errorf("%s, line %d: %w", file, r.Line, err)
			}
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	seen := make(map[string]Registry)
	for _, r := range c.Registries {
		o, ok := seen[r.Location]
		if ok && r.Location != "" && (o.Insecure != r.Insecure || o.Blocked != r.Blocked) {
			return fmt.Errorf("%s: registry %q is there several times, and not always as insecure or blocked", file, r.Location)
		}
		seen[r.Location] = r
	}
	for i, host := range c.Search {
		s, err := location(host)
		if err != nil {
			return fmt.Errorf("%s: unqualified-search-registries: %w", file, err)
		}
		if s == "" || IsShort(s+"/x") {
			return fmt.Errorf("%s: unqualified-search-registries: %q is no registry: one has a dot or a port, or is localhost", file, host)
		}
		c.Search[i] = s
	}
	switch c.Mode {
	case "", Enforcing, Permissive, Disabled:
	default:
		return fmt.Errorf("%s: short-name-mode %q: write enforcing, permissive or disabled", file, c.Mode)
	}
	for short, a := range c.Aliases {
		if err := checkAlias(short, a.Name); err != nil {
			return fmt.Errorf("%s: aliases: %w", file, err)
		}
	}
	return nil
}

func (r *Registry) check() error {
	var err error
	if r.Location, err = location(r.Location); err != nil {
		return err
	}
	if r.Prefix, err = location(r.Prefix); err != nil {
		return err
	}
	if r.Prefix == "" {
		r.Prefix = r.Location
	}
	switch {
	case r.Prefix == "":
		return fmt.Errorf("a [[registry]] needs a prefix or a location")
	case strings.HasPrefix(r.Prefix, "*."):
		if strings.ContainsAny(r.Prefix[1:], "*/:@") || len(r.Prefix) < 3 {
			return fmt.Errorf("prefix %q: a wildcard stands before a whole domain, as in *.example.com", r.Prefix)
		}
	case strings.Contains(r.Prefix, "*"):
		return fmt.Errorf("prefix %q: a wildcard can only be the first part, as in *.example.com", r.Prefix)
	case r.Location == "":
		return fmt.Errorf("prefix %q needs a location", r.Prefix)
	}
	if strings.Contains(r.Location, "*") {
		return fmt.Errorf("location %q: only a prefix can have a wildcard", r.Location)
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		if m.Location, err = location(m.Location); err != nil {
			return err
		}
		switch {
		case m.Location == "":
			return fmt.Errorf("a mirror of %q has no location", r.Prefix)
		case strings.Contains(m.Location, "*"):
			return fmt.Errorf("location %q: only a prefix can have a wildcard", m.Location)
		case m.Pull != "" && r.MirrorByDigestOnly:
			return fmt.Errorf("mirror %q: pull-from-mirror and mirror-by-digest-only contradict each other", m.Location)
		}
		switch m.Pull {
		case "", Always, DigestOnly, TagOnly:
		default:
			return fmt.Errorf("mirror %q: pull-from-mirror %q: write all, digest-only or tag-only", m.Location, m.Pull)
		}
	}
	return nil
}

// location checks a host[:port][/path], without a scheme.
func location(s string) (string, error) {
	s = strings.TrimRight(s, "/")
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return "", fmt.Errorf("location %q: leave https:// and http:// out", s)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("location %q has characters that no registry's name has", s)
	}
	return s, nil
}
