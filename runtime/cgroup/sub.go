package cgroup

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Sub says in which groups below the container's one more process of it shall be: a path by controller on v1, where the
// controllers that it doesn't name stay with the container's own group, or one path for all by the name "".
type Sub map[string]string

// ParseSub reads the values of exec's --cgroup: one PATH, or on v1 as many CONTROLLER[,CONTROLLER]:PATH as are needed.
func ParseSub(args []string) (Sub, error) {
	if len(args) == 0 {
		return nil, nil
	}
	s := make(Sub)
	for _, arg := range args {
		controllers, below, ok := strings.Cut(arg, ":")
		if !ok {
			if len(args) != 1 {
				return nil, fmt.Errorf("--cgroup %q: several paths need a controller each, as in memory:%s", arg, arg)
			}
			controllers, below = "", arg
		}
		below = strings.Trim(below, "/") // "/" is the container's own group
		if below != "" {
			if _, err := parsePath(below); err != nil {
				return nil, fmt.Errorf("--cgroup %q: %w", arg, err)
			}
		}
		for c := range strings.SplitSeq(controllers, ",") {
			if _, twice := s[c]; twice || ok && c == "" {
				return nil, fmt.Errorf("--cgroup %q: each controller is named once", arg)
			}
			s[c] = below
		}
	}
	return s, nil
}

// one is the path where there is only one hierarchy.
func (s Sub) one() (string, error) {
	for name := range s {
		if name != "" {
			return "", fmt.Errorf("--cgroup %s:%s: cgroup v2 has no controllers with paths of their own", name, s[name])
		}
	}
	return s[""], nil
}

// below gives the group at a path that parsePath accepts.
func (g group) below(sub string) (group, error) {
	if sub == "" {
		return g, nil
	}
	p, err := parsePath(sub)
	if err != nil {
		return g, fmt.Errorf("--cgroup %q: %w", sub, err)
	}
	return group{g.root, path.Join(g.rel, strings.Join(p.parts, "/"))}, nil
}

// below gives the groups of all hierarchies with what sub adds.
func (m *v1) below(sub Sub) ([]member, error) {
	for name := range sub {
		if name != "" && m.find(name) == nil {
			return nil, fmt.Errorf("--cgroup %s:%s: the container has no cgroup of that controller", name, sub[name])
		}
	}
	all := slices.Clone(m.groups)
	for i := range all {
		add := sub[""]
		for _, c := range all[i].controllers {
			if p, ok := sub[c]; ok {
				add = p
			}
		}
		if all[i].unified() && add != "" {
			if g, err := all[i].group.below(add); err != nil || !g.exists() {
				continue // on hybrid machines a container doesn't see that one, and makes no group there
			}
		}
		g, err := all[i].group.below(add)
		if err != nil {
			return nil, err
		}
		all[i].group = g
	}
	return all, nil
}

// Beside gives where below m's group process pid is, when the group itself can take no process: on v2 one that hands
// controllers down has them in groups below alone. A container that runs systemd does that.
func Beside(m Manager, pid int) Sub {
	if s, ok := m.(*scope); ok {
		m = s.Manager
	}
	v, ok := m.(*v2)
	if !ok {
		return nil
	}
	if text, err := v.read("cgroup.subtree_control"); err != nil || strings.TrimSpace(text) == "" {
		return nil
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	own := visible(v.root, parseOwn(string(text))[""])
	if rest, ok := strings.CutPrefix(own, v.rel+"/"); ok {
		return Sub{"": rest}
	}
	return nil
}
