package container

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/runtime/seccomp"
)

// securityOptions are --security-opt, read.
type securityOptions struct {
	newPrivileges bool   // a set-user-id program may gain rights
	unmasked      bool   // nothing of /proc and /sys is hidden
	seccomp       string // "": the default profile; unconfined; or a file
	apparmor      string // "": the engine has no profile of its own
}

// parseSecurity reads words such as no-new-privileges and seccomp=FILE. A
// colon may stand for the equals sign, as old scripts have it.
func parseSecurity(options []string) (securityOptions, error) {
	var s securityOptions
	for _, o := range options {
		i := strings.IndexAny(o, "=:")
		key, value := o, ""
		if i >= 0 {
			key, value = o[:i], o[i+1:]
		}
		bad := false
		switch key {
		case "no-new-privileges":
			on, err := strconv.ParseBool(value)
			if bad = err != nil && i >= 0; !bad {
				s.newPrivileges = i >= 0 && !on
			}
		case "seccomp":
			s.seccomp = value
			bad = value != "unconfined" && !filepath.IsAbs(value)
		case "apparmor":
			s.apparmor = value
			bad = value == ""
		case "systempaths":
			bad = value != "unconfined"
			s.unmasked = true
		case "label":
			bad = value != "disable" && value != "nested"
		default:
			bad = true
		}
		if bad {
			return s, fmt.Errorf("invalid security option %q: known are no-new-privileges[=false], seccomp=unconfined|FILE, apparmor=unconfined|PROFILE, systempaths=unconfined, label=disable", o)
		}
	}
	return s, nil
}

// security sets what the process may do.
func (r *Record) security(s *specs.Spec, f *facts, o securityOptions) error {
	caps, err := r.capabilities(f)
	if err != nil {
		return err
	}
	// Inheritable and ambient sets stay empty: a program that is not root's
	// gets no right from them that its file does not carry.
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps}
	if s.Process.User.UID == 0 {
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = caps, caps
	}
	s.Process.NoNewPrivileges = !o.newPrivileges && !r.Settings.Privileged
	if o.apparmor != "" && o.apparmor != "unconfined" {
		s.Process.ApparmorProfile = o.apparmor
	}
	if !r.Settings.Privileged && !o.unmasked {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = maskedPaths(), readonlyPaths()
	}
	switch {
	case o.seccomp == "unconfined", o.seccomp == "" && r.Settings.Privileged:
	case o.seccomp == "":
		s.Linux.Seccomp = seccomp.Default(caps)
	default:
		s.Linux.Seccomp = f.seccomp
	}
	return nil
}

func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
