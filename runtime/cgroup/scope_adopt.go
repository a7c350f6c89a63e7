package cgroup

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// adopt makes those groups that systemd did not make for its unit, sets all limits, and moves the unit's first process
// into them.
func (m *v1) adopt(pid int, r *specs.LinuxResources) error {
	all, devices, err := m.plan(r)
	if err != nil {
		return err
	}
	for i := range m.groups {
		g := &m.groups[i]
		var each func(level) error
		if slices.Contains(g.controllers, "cpuset") {
			each = func(l level) error { return inheritCpuset(l, r) }
		}
		var undo []made // Destroy removes them, whether systemd made them or not
		dir, created, err := g.mkdirs(&undo, each)
		if err != nil {
			return err
		}
		err = g.set(dir, all)
		if err == nil && devices.of == g {
			err = devices.write(dir, created)
		}
		unix.Close(dir)
		if err == nil {
			err = g.write("cgroup.procs", strconv.Itoa(pid))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt sets the limits of a group that systemd made, and has the groups above hand down what systemd doesn't know.
func (m *v2) adopt(r *specs.LinuxResources) error {
	rules, err := deviceRules(r)
	if err != nil {
		return err
	}
	var undo []made
	var failed enabled
	dir, created, err := m.mkdirs(&undo, func(l level) error { return failed.enable(l.parent) })
	if err == nil {
		defer unix.Close(dir)
		if created {
			err = fmt.Errorf("systemd did not make the cgroup %s", m.path())
		}
	}
	if err == nil {
		err = m.set(dir, r, failed)
	}
	if err == nil {
		if err = setDeviceFilter(dir, deviceFilter(rules)); err != nil {
			err = fmt.Errorf("cgroup %s: %w", m.path(), err)
		}
	}
	if err != nil {
		takeBack(undo)
	}
	return err
}
