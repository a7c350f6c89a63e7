package container

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/capability"
)

// defaultCaps are what container root has unless told otherwise. Raw sockets,
// device nodes and the audit log are not among them: pings work without the
// first, and the others mean nothing in a user namespace.
func defaultCaps() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
		"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
	}
}

// capabilities are the bounding set: the default, or all with --privileged,
// and --cap-add and --cap-drop, where ALL comes before single names and a drop
// beats an addition.
func (r *Record) capabilities(f *facts) ([]string, error) {
	add, err := capNames(r.Settings.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := capNames(r.Settings.CapDrop)
	if err != nil {
		return nil, err
	}
	var caps []string
	switch {
	case r.Settings.Privileged || slices.Contains(add, "ALL"):
		caps = slices.Clone(f.caps)
	case slices.Contains(drop, "ALL"):
	default:
		caps = defaultCaps()
	}
	for _, name := range add {
		if name != "ALL" && !slices.Contains(caps, name) {
			caps = append(caps, name)
		}
	}
	caps = slices.DeleteFunc(caps, func(name string) bool { return slices.Contains(drop, name) })
	slices.Sort(caps)
	return caps, nil
}

// capNames turns sys_admin, CAP_SYS_ADMIN and the like into the latter.
func capNames(names []string) ([]string, error) {
	var list []string
	for _, name := range names {
		upper := strings.ToUpper(name)
		if upper != "ALL" && !strings.HasPrefix(upper, "CAP_") {
			upper = "CAP_" + upper
		}
		known := upper == "ALL" || slices.ContainsFunc(capability.ListKnown(), func(c capability.Cap) bool { return capName(c) == upper })
		if !known {
			return nil, fmt.Errorf("unknown capability %q", name)
		}
		list = append(list, upper)
	}
	return list, nil
}

func capName(c capability.Cap) string { return "CAP_" + strings.ToUpper(c.String()) }
