package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"loper.run/network"
)

// AddNetwork takes in one --network.
func (s *Settings) AddNetwork(word string) error {
	mode, r, err := ParseNetwork(word)
	switch {
	case err != nil:
		return err
	case mode != "" && (len(s.Networks) > 0 || s.Network != "" && s.Network != mode), mode == "" && s.Network != "":
		return errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	case mode != "":
		s.Network = mode
		return nil
	case slices.ContainsFunc(s.Networks, func(n network.Request) bool { return n.Network == r.Network }):
		return fmt.Errorf("network %q is specified multiple times", r.Network)
	}
	s.Networks = append(s.Networks, r)
	return nil
}

// NetworkNames are the networks by name, or the mode; none is a mode too.
func (s *Settings) NetworkNames() []string {
	switch {
	case s.Network != "":
		return []string{s.Network}
	case len(s.Networks) == 0:
		return []string{"none"}
	}
	names := make([]string, len(s.Networks))
	for i, r := range s.Networks {
		names[i] = r.Network
	}
	return names
}

// ownNetwork reports whether the container has a network namespace of its own.
func (s *Settings) ownNetwork() bool { return s.Network == "" || s.Network == "none" }

// chooseNetwork gives settings that ask for no network the default one, and
// refuses what does not go together, in docker's words.
func (e *Engine) chooseNetwork(s *Settings) error {
	if s.Network == "" && len(s.Networks) == 0 {
		if err := s.AddNetwork(e.DefaultNetwork); err != nil {
			return err
		}
	}
	if err := s.checkMode(); err != nil {
		return err
	}
	if s.Network != "" && len(s.Ports) > 0 && e.Warn != nil {
		kind, _, _ := strings.Cut(s.Network, ":")
		e.Warn("Published ports are discarded when using " + kind + " network mode")
	}
	s.Networks = slices.Clone(s.Networks)
	for i, r := range s.Networks {
		if r.Network != BridgeNetwork {
			n, err := e.network(r.Network)
			if err != nil {
				return err
			}
			s.Networks[i].Network = n.Name
		}
		if err := checkRequest(r); err != nil {
			return err
		}
	}
	for _, link := range s.Links {
		if _, _, err := ParseLink(link); err != nil {
			return err
		}
	}
	return nil
}

// checkRequest refuses what the default network has not.
func checkRequest(r network.Request) error {
	switch {
	case r.Network != BridgeNetwork:
		return nil
	case r.IP.IsValid() || r.IP6.IsValid():
		return errors.New("user specified IP address is supported on user defined networks only")
	case len(r.Aliases) > 0:
		return errors.New("network-scoped aliases are only supported for user-defined networks")
	}
	return nil
}

// checkMode refuses what a network mode leaves no place for.
func (s *Settings) checkMode() error {
	kind, _, _ := strings.Cut(s.Network, ":")
	if kind == "" {
		return nil
	}
	asked := []struct {
		what string
		is   bool
	}{
		{"links", len(s.Links) > 0},
		{"network rate", s.RateIn > 0 || s.RateOut > 0},
		{"egress rules", len(s.Egress) > 0},
	}
	if kind == "container" {
		asked = append(asked, []struct {
			what string
			is   bool
		}{
			{"port publishing", len(s.Ports) > 0 || s.PublishAll},
			{"hostname", s.Hostname != ""},
			{"port exposing", len(s.Expose) > 0},
			{"dns", len(s.DNS) > 0},
			{"custom host-to-IP mapping", len(s.AddHosts) > 0},
		}...)
	}
	for _, a := range asked {
		if a.is {
			return fmt.Errorf("conflicting options: %s and the %s type network mode", a.what, kind)
		}
	}
	return nil
}

// ParseLink reads one --link: CONTAINER[:ALIAS].
func ParseLink(word string) (name, alias string, err error) {
	name, alias, ok := strings.Cut(word, ":")
	if !ok {
		alias = name
	}
	alias = strings.TrimPrefix(alias, "/")
	name = strings.TrimPrefix(name, "/")
	if name == "" || CheckName(name) != nil {
		return "", "", fmt.Errorf("bad format for links: %s", word)
	}
	if err := network.CheckAlias(alias); err != nil {
		return "", "", fmt.Errorf("bad format for links: %s: %w", word, err)
	}
	return name, alias, nil
}

// planNetwork makes a plan show where a container waits for its networks.
func (c *Container) planNetwork() func(*os.File) error {
	if len(c.Settings.Networks) == 0 {
		return nil
	}
	return func(*os.File) error { return errors.New("a plan connects nothing") }
}
