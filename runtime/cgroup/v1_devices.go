package cgroup

import (
	"errors"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// v1Devices is the device rules in the form that the machine takes: exceptions of the devices controller, or a program
// on the cgroup2 group where that controller is not mounted.
type v1Devices struct {
	of     *member
	set    deviceSet
	filter []insn
}

func (m *v1) devices(r *specs.LinuxResources) (v1Devices, error) {
	rules, err := deviceRules(r)
	if err != nil {
		return v1Devices{}, err
	}
	if g := m.find("devices"); g != nil {
		set, err := newDeviceSet(rules)
		return v1Devices{of: g, set: set}, err
	}
	if g := m.find(""); g != nil {
		return v1Devices{of: g, filter: deviceFilter(rules)}, nil
	}
	if len(devicesOf(r)) > 0 {
		return v1Devices{}, &LimitError{"linux.resources.devices", errors.New("the devices controller is not mounted on this machine")}
	}
	return v1Devices{}, nil
}

func (d v1Devices) write(dir int, fresh bool) error {
	if d.filter != nil {
		return setDeviceFilter(dir, d.filter)
	}
	return d.set.write(dir, fresh)
}

func devicesOf(r *specs.LinuxResources) []specs.LinuxDeviceCgroup {
	if r == nil {
		return nil
	}
	return r.Devices
}
