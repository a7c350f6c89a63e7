package seccomp

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Features lists what Compile understands, and what of it the running kernel
// has (runtime-spec, features-linux.md, "seccomp").
type Features struct {
	Actions                    []specs.LinuxSeccompAction
	Operators                  []specs.LinuxSeccompOperator
	Archs                      []specs.Arch
	KnownFlags, SupportedFlags []specs.LinuxSeccompFlag
}

// Known returns the sorted lists.
func Known() Features {
	var f Features
	for _, a := range actions {
		f.Actions = append(f.Actions, a.name)
	}
	for _, o := range operators {
		f.Operators = append(f.Operators, o.name)
	}
	for _, c := range conventions {
		f.Archs = append(f.Archs, c.name)
	}
	for _, l := range filterFlags {
		f.KnownFlags = append(f.KnownFlags, l.name)
		if hasFlag(l.bits) {
			f.SupportedFlags = append(f.SupportedFlags, l.name)
		}
	}
	slices.Sort(f.Actions)
	slices.Sort(f.Operators)
	slices.Sort(f.Archs)
	slices.Sort(f.KnownFlags)
	slices.Sort(f.SupportedFlags)
	return f
}

// hasFlag asks the kernel, which looks at the flags before it finds out that
// there is no filter at the address 0.
func hasFlag(bits uintptr) bool {
	if bits == flagWaitKillableRecv {
		bits |= flagNewListener // it makes no sense alone
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, bits, 0)
	return errno == unix.EFAULT
}
