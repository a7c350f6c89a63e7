package cgroup

import (
	"fmt"
	"math"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The access bits are those of the kernel's BPF context (linux/bpf.h).
const (
	accessMknod uint8 = 1 << iota
	accessRead
	accessWrite
	accessAll = accessMknod | accessRead | accessWrite
)

// maxRules bounds the rules of one container; the kernel looks at them one after the other.
const maxRules = 1024

// anyNumber is a major or minor number left open.
const anyNumber = -1

// rule is a checked linux.resources.devices entry.
type rule struct {
	allow        bool
	kind         byte  // 'a', 'b' or 'c'
	major, minor int64 // or anyNumber
	access       uint8
}

// DefaultDevices are the rules that every container gets after its own: any node may be made (that alone opens
// nothing), and the harmless devices and terminals of the specification may be used. The console (5:1) is not among
// them: a container's /dev/console is a pseudo-terminal, the real one is the host's.
func DefaultDevices() []specs.LinuxDeviceCgroup {
	n := func(v int64) *int64 { return &v }
	c := func(major int64, minor *int64) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: n(major), Minor: minor, Access: "rwm"}
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: true, Type: "c", Access: "m"},
		{Allow: true, Type: "b", Access: "m"},
		c(1, n(3)),  // null
		c(1, n(5)),  // zero
		c(1, n(7)),  // full
		c(1, n(8)),  // random
		c(1, n(9)),  // urandom
		c(5, n(0)),  // tty
		c(5, n(2)),  // ptmx
		c(136, nil), // pts/*
	}
}

// deviceRules checks the rules and adds the defaults.
func deviceRules(r *specs.LinuxResources) ([]rule, error) {
	var devices []specs.LinuxDeviceCgroup
	if r != nil {
		devices = r.Devices
	}
	if len(devices) > maxRules {
		return nil, &LimitError{"linux.resources.devices", fmt.Errorf("%d rules are more than %d", len(devices), maxRules)}
	}
	rules := make([]rule, 0, len(devices)+10)
	for i, d := range devices {
		parsed, err := parseRule(d)
		if err != nil {
			return nil, &LimitError{fmt.Sprintf("linux.resources.devices[%d]", i), err}
		}
		rules = append(rules, parsed)
	}
	for _, d := range DefaultDevices() {
		parsed, err := parseRule(d)
		if err != nil {
			return nil, err
		}
		rules = append(rules, parsed)
	}
	return rules, nil
}

func parseRule(d specs.LinuxDeviceCgroup) (rule, error) {
	r := rule{allow: d.Allow, major: anyNumber, minor: anyNumber}
	switch d.Type {
	case "", "a":
		r.kind = 'a'
	case "b", "c":
		r.kind = d.Type[0]
	default:
		return r, fmt.Errorf("type %.20q is none of a, b, c", d.Type)
	}
	for _, n := range []struct {
		name string
		from *int64
		to   *int64
	}{{"major", d.Major, &r.major}, {"minor", d.Minor, &r.minor}} {
		if n.from == nil {
			continue
		}
		if *n.from < anyNumber || *n.from > math.MaxUint32 {
			return r, fmt.Errorf("%s number %d is out of range", n.name, *n.from)
		}
		*n.to = *n.from
	}
	for _, c := range []byte(d.Access) {
		switch c {
		case 'r':
			r.access |= accessRead
		case 'w':
			r.access |= accessWrite
		case 'm':
			r.access |= accessMknod
		default:
			return r, fmt.Errorf("access %.20q has other letters than r, w, m", d.Access)
		}
	}
	if r.access == 0 {
		r.access = accessAll
	}
	return r, nil
}

// everything reports whether the rule is about all devices in every way, and so makes all rules before it void.
func (r rule) everything() bool {
	return r.kind == 'a' && r.major == anyNumber && r.minor == anyNumber && r.access == accessAll
}

// String is the rule in the form of the v1 files, without allow or deny.
func (r rule) String() string {
	b := []byte{r.kind, ' '}
	for i, n := range [2]int64{r.major, r.minor} {
		if n == anyNumber {
			b = append(b, '*')
		} else {
			b = strconv.AppendInt(b, n, 10)
		}
		b = append(b, ": "[i])
	}
	for i, bit := range [3]uint8{accessRead, accessWrite, accessMknod} {
		if r.access&bit != 0 {
			b = append(b, "rwm"[i])
		}
	}
	return string(b)
}
