package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// checkLinux refuses values that Linux hasn't got. Nothing is ignored in
// silence: what has no effect and does no harm becomes a warning.
func (c *compiler) checkLinux() error {
	l := c.spec.Linux
	switch {
	case l.Personality != nil && len(l.Personality.Flags) > 0:
		return badField("linux.personality.flags[0]", "unknown flag %q: the specification has none", l.Personality.Flags[0])
	case l.Personality != nil && l.Personality.Domain != specs.PerLinux && l.Personality.Domain != specs.PerLinux32:
		return badField("linux.personality.domain", "unknown domain %q", l.Personality.Domain)
	case len(l.TimeOffsets) > 0 && !fresh(c.spec, specs.TimeNamespace):
		return badField("linux.timeOffsets", "needs a new time namespace")
	case l.MountLabel != "" && !c.host.SELinux:
		c.warn("linux.mountLabel", "has no effect: SELinux is off on this machine")
	}
	for clock, o := range l.TimeOffsets {
		switch {
		case clock != "monotonic" && clock != "boottime":
			return badField("linux.timeOffsets."+clock, "unknown clock: monotonic and boottime can have an offset")
		case o.Nanosecs >= 1e9:
			return badField("linux.timeOffsets."+clock, "%d nanoseconds are a second or more", o.Nanosecs)
		}
	}
	if p := l.RootfsPropagation; p != "" {
		if propagation(p).flag == 0 {
			return badField("linux.rootfsPropagation", "unknown propagation %q", p)
		}
	}
	return nil
}

// inVain warns of what has no effect on a process.
func (c *compiler) inVain(p *specs.Process, field string) {
	if p.ApparmorProfile != "" && p.ApparmorProfile != "unconfined" && !c.host.AppArmor {
		c.warn(field+".apparmorProfile", "has no effect: AppArmor is off on this machine")
	}
	if p.SelinuxLabel != "" && !c.host.SELinux {
		c.warn(field+".selinuxLabel", "has no effect: SELinux is off on this machine")
	}
	if c.host.SetgroupsDenied && len(p.User.AdditionalGids) > 0 {
		c.warn(field+".user.additionalGids", "are left out: a user namespace of a single group has no others")
	}
}

func (c *compiler) warn(field, format string, args ...any) {
	c.warnings = append(c.warnings, "config.json: "+field+": "+fmt.Sprintf(format, args...))
}
