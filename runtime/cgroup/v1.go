package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// v1 manages a group in each v1 hierarchy, and one in the cgroup2 hierarchy that stands beside them on hybrid machines:
// that one limits nothing, but can be killed and frozen as a whole, and be born into.
type v1 struct {
	groups []member
}

// member is the group in one hierarchy.
type member struct {
	group
	controllers []string // "" for the cgroup2 one
}

func (m member) unified() bool { return m.controllers[0] == "" }

func newV1(root string, p cgroupPath) (*v1, error) {
	var own map[string]string
	if !p.absolute {
		var err error
		if own, err = ownGroups(); err != nil {
			return nil, fmt.Errorf("own cgroup: %w", err)
		}
	}
	m := &v1{}
	rel := strings.Join(p.parts, "/")
	for _, h := range hierarchies(root) {
		g := member{group{h.root, rel}, h.controllers}
		if !p.absolute {
			g.rel = filepath.Join(visible(h.root, own[h.controllers[0]]), rel)
		}
		m.groups = append(m.groups, g)
	}
	if len(m.groups) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted below %s", root)
	}
	return m, nil
}

func loadV1(root string, paths map[string]string) (*v1, error) {
	m := &v1{}
next:
	for _, name := range known {
		switch name {
		case "systemd":
			name = "name=systemd"
		case "unified":
			name = ""
		}
		dir, ok := paths[name]
		if !ok {
			continue
		}
		for i := range m.groups {
			if m.groups[i].path() == dir {
				m.groups[i].controllers = append(m.groups[i].controllers, name)
				continue next
			}
		}
		rest, ok := strings.CutPrefix(dir, root+"/")
		if !ok {
			return nil, fmt.Errorf("cgroup %q does not lie below %s", dir, root)
		}
		hierarchy, _, _ := strings.Cut(rest, "/")
		if err := checkName(hierarchy); err != nil {
			return nil, err
		}
		g, err := groupAt(filepath.Join(root, hierarchy), dir)
		if err != nil {
			return nil, err
		}
		m.groups = append(m.groups, member{g, []string{name}})
	}
	if len(m.groups) == 0 {
		return nil, errors.New("none of the saved cgroups has a known controller")
	}
	return m, nil
}

// find gives the group of a controller, or nil.
func (m *v1) find(controller string) *member {
	for i := range m.groups {
		if slices.Contains(m.groups[i].controllers, controller) {
			return &m.groups[i]
		}
	}
	return nil
}

// limits gives the settings of r after checking that each has a controller.
func (m *v1) limits(r *specs.LinuxResources) (list, error) {
	all, err := limitsV1(r)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if !s.lifts && m.find(s.controller) == nil {
			return nil, &LimitError{s.field, fmt.Errorf("the %s controller is not mounted on this machine", s.controller)}
		}
	}
	return all, nil
}

// plan gives all that r asks for.
func (m *v1) plan(r *specs.LinuxResources) (list, v1Devices, error) {
	all, err := m.limits(r)
	if err != nil {
		return nil, v1Devices{}, err
	}
	devices, err := m.devices(r)
	return all, devices, err
}

func (m *v1) Create(r *specs.LinuxResources) (err error) {
	all, devices, err := m.plan(r)
	if err != nil {
		return err
	}
	var undo []made
	defer func() {
		if err != nil {
			takeBack(undo)
		}
	}()
	for i := range m.groups {
		g := &m.groups[i]
		var each func(level) error
		if slices.Contains(g.controllers, "cpuset") {
			each = func(l level) error { return inheritCpuset(l, r) }
		}
		dir, created, err := g.mkdirs(&undo, each)
		if err != nil {
			return err
		}
		if !created {
			err = g.checkUnused(dir)
		}
		if err == nil {
			err = g.set(dir, all)
		}
		if err == nil && devices.of == g && (created || len(devicesOf(r)) > 0) {
			err = devices.write(dir, created)
		}
		unix.Close(dir)
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *v1) Set(r *specs.LinuxResources) error {
	all, devices, err := m.plan(r)
	if err != nil {
		return err
	}
	before := all.present(m.current)
	for i := range m.groups {
		g := &m.groups[i]
		filter := devices.of == g && len(devicesOf(r)) > 0
		if !filter && !slices.ContainsFunc(all, func(s setting) bool { return slices.Contains(g.controllers, s.controller) }) {
			continue
		}
		dir, err := g.openDir()
		if err == nil {
			err = g.set(dir, all)
			if err == nil && filter {
				err = devices.write(dir, false)
			}
			unix.Close(dir)
		}
		if err != nil {
			before.takeBack(m.put)
			return err
		}
	}
	return nil
}

// set writes those settings that belong to g.
func (g *member) set(dir int, all list) error {
	var mine list
	for _, s := range all {
		if slices.Contains(g.controllers, s.controller) {
			mine = append(mine, s)
		}
	}
	return mine.apply(func(s *setting) error { return putAt(dir, s) })
}

// put writes one setting into the group that it belongs to.
func (m *v1) put(s *setting) error {
	g := m.find(s.controller)
	if g == nil {
		return nil
	}
	return g.write(s.file, s.value)
}

// current gives a file of the groups as it is, and "" for one that is not there.
func (m *v1) current(file string) string {
	controller, _, _ := strings.Cut(file, ".")
	g := m.find(controller)
	if g == nil {
		return ""
	}
	text, _ := g.read(file)
	return text
}

// checkUnused refuses a group that was there before and in which another container may live: whoever shares a group
// is also killed, paused and limited with it.
func (g *member) checkUnused(dir int) error {
	text, err := readAt(dir, "cgroup.procs")
	if err != nil {
		return &fs.PathError{Op: "read", Path: g.path() + "/cgroup.procs", Err: err}
	}
	if text != "" {
		return &LimitError{"linux.cgroupsPath", fmt.Errorf("cgroup %s has processes already", g.path())}
	}
	frozen := false
	if g.unified() {
		frozen, err = g.frozenV2()
	} else if slices.Contains(g.controllers, "freezer") {
		frozen, err = g.frozenV1()
	}
	if frozen {
		return &LimitError{"linux.cgroupsPath", fmt.Errorf("cgroup %s is frozen", g.path())}
	}
	return err
}

// inheritCpuset gives a new cpuset the processors and memory nodes of the one above; without any it takes no process.
func inheritCpuset(l level, r *specs.LinuxResources) error {
	for _, file := range [2]string{"cpuset.cpus", "cpuset.mems"} {
		if l.leaf && r != nil && r.CPU != nil &&
			(file == "cpuset.cpus" && r.CPU.Cpus != "" || file == "cpuset.mems" && r.CPU.Mems != "") {
			continue // a limit of its own follows
		}
		if !l.created {
			if now, err := readAt(l.dir, file); err != nil || strings.TrimSpace(now) != "" {
				if err != nil {
					return fmt.Errorf("read %s: %w", file, err)
				}
				continue
			}
		}
		above, err := readAt(l.parent, file)
		if err != nil {
			return fmt.Errorf("read %s of the group above: %w", file, err)
		}
		if err := writeAt(l.dir, file, strings.TrimSpace(above)); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	return nil
}
