package runtime

import (
	"fmt"
	"slices"
	"strings"

	"loper.run/launch"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capabilitySets are process.capabilities as bit masks.
type capabilitySets struct {
	bounding, effective, permitted, inheritable, ambient uint64
}

// parseCapabilities turns names into masks. A name that no kernel has is left
// out with a warning, as the specification asks.
func parseCapabilities(c *specs.LinuxCapabilities, field string, warnings *[]string) (capabilitySets, error) {
	var s capabilitySets
	if c == nil {
		return s, nil
	}
	for _, set := range []struct {
		name  string
		names []string
		mask  *uint64
	}{
		{"bounding", c.Bounding, &s.bounding}, {"effective", c.Effective, &s.effective}, {"permitted", c.Permitted, &s.permitted},
		{"inheritable", c.Inheritable, &s.inheritable}, {"ambient", c.Ambient, &s.ambient},
	} {
		for i, name := range set.names {
			bit, ok := capabilityBit(name)
			if !ok {
				*warnings = append(*warnings, fmt.Sprintf("config.json: %s.%s[%d]: unknown capability %q is left out", field, set.name, i, name))
				continue
			}
			*set.mask |= 1 << bit
		}
	}
	if missing := s.effective &^ s.permitted; missing != 0 {
		return s, badField(field+".effective", "has capabilities that are not in permitted")
	}
	return s, nil
}

// keepAvailable leaves out what the caller has not got itself. In a user
// namespace of its own the container can have all.
func (c *compiler) keepAvailable(s *capabilitySets, field string) {
	// The kernel's rule for them. runc's own example asks for some that are not
	// inheritable, so nobody is told.
	s.ambient &= s.permitted & s.inheritable
	if c.host.Capabilities == 0 || has(c.spec, specs.UserNamespace) {
		return
	}
	missing := (s.bounding | s.permitted | s.inheritable) &^ c.host.Capabilities
	if missing != 0 {
		c.warn(field, "%s left out: the runtime has not got it itself", capabilityNames(missing))
	}
	for _, set := range []*uint64{&s.effective, &s.permitted, &s.inheritable, &s.ambient} {
		*set &= c.host.Capabilities
	}
}

// capabilityNames lists a mask as people write it.
func capabilityNames(mask uint64) string {
	var names []string
	for bit := range uint(64) {
		if mask&(1<<bit) != 0 {
			names = append(names, "CAP_"+upper(capability.Cap(bit).String()))
		}
	}
	return strings.Join(names, ", ")
}

func capabilityBit(name string) (uint, bool) {
	all := capability.ListKnown()
	i := slices.IndexFunc(all, func(c capability.Cap) bool { return "CAP_"+upper(c.String()) == name })
	if i < 0 {
		return 0, false
	}
	return uint(all[i]), true
}

// upper is strings.ToUpper for the ASCII names of capabilities.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// bounding drops what is not in the bounding set. The kernel answers EINVAL
// for capabilities that it doesn't know.
func (c *compiler) bounding(s capabilitySets, field string) {
	for bit := range uint(capability.CAP_CHECKPOINT_RESTORE) + 1 {
		if s.bounding&(1<<bit) != 0 {
			continue
		}
		op := prctl(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP", uintptr(bit), "drop CAP_"+upper(capability.Cap(bit).String())+" from the bounding set")
		op.Field = field + ".capabilities.bounding"
		op.Accept = []launch.Accept{{Errno: unix.EINVAL}}
		c.add(op)
	}
}

// capabilities sets the three sets of the process, and the ambient one.
func (c *compiler) capabilities(s capabilitySets, field string) {
	const version3 = 0x20080522
	low := func(v uint64) uint64 { return v & (1<<32 - 1) }
	field += ".capabilities"
	c.add(launch.Op{
		Call: launch.Capset,
		Args: []launch.Arg{
			launch.Words(launch.Int(uint64(version3))), // struct __user_cap_header_struct: version, pid 0
			launch.Words( // two struct __user_cap_data_struct: effective, permitted, inheritable
				launch.Int(low(s.effective)|s.permitted<<32),
				launch.Int(low(s.inheritable)|(s.effective>>32)<<32),
				launch.Int(s.permitted>>32|(s.inheritable>>32)<<32),
			),
		},
		Text: "set the capabilities", Field: field,
	})
	c.add(launch.Op{
		Call: launch.Prctl, Args: []launch.Arg{launch.Flags(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), launch.Flags(unix.PR_CAP_AMBIENT_CLEAR_ALL, "CLEAR_ALL"), launch.Int(0), launch.Int(0), launch.Int(0)},
		Text: "clear the ambient capabilities", Field: field + ".ambient",
	})
	for bit := range uint(64) {
		if s.ambient&(1<<bit) == 0 {
			continue
		}
		c.add(launch.Op{
			Call: launch.Prctl, Args: []launch.Arg{launch.Flags(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), launch.Flags(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), launch.Int(bit), launch.Int(0), launch.Int(0)},
			Text: "raise the ambient CAP_" + upper(capability.Cap(bit).String()), Field: field + ".ambient",
			// The kernel knows reasons that are not in the sets: the specification asks for no more than an attempt.
			Accept: []launch.Accept{{Errno: unix.EPERM}, {Errno: unix.EINVAL}},
		})
	}
}
