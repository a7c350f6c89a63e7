package seccomp

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Return values of a filter, from linux/seccomp.h. The lower 16 bits carry
// the errno or the tracer's message.
const (
	retKillProcess = 0x80000000
	retKillThread  = 0x00000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retNotify      = 0x7fc00000
	retTrace       = 0x7ff00000
	retLog         = 0x7ffc0000
	retAllow       = 0x7fff0000

	retClass = 0xffff0000
	retData  = 0x0000ffff
)

const (
	eperm    = 1
	enosys   = 38
	maxErrno = 4095 // the kernel clamps what a filter asks for to this
)

// Flags of seccomp(2), from linux/seccomp.h.
const (
	flagLog              = 1 << 1
	flagSpecAllow        = 1 << 2
	flagNewListener      = 1 << 3
	flagWaitKillableRecv = 1 << 5
)

// actions are those of the specification.
var actions = [...]struct {
	name specs.LinuxSeccompAction
	ret  uint32
}{
	{specs.ActAllow, retAllow}, {specs.ActErrno, retErrno}, {specs.ActKill, retKillThread}, {specs.ActKillProcess, retKillProcess},
	{specs.ActKillThread, retKillThread}, {specs.ActLog, retLog}, {specs.ActNotify, retNotify}, {specs.ActTrace, retTrace}, {specs.ActTrap, retTrap},
}

// action returns a filter's return value for an action. The field names are
// for errors; errnoRet is nil when the profile has none.
func action(act specs.LinuxSeccompAction, errnoRet *uint, actField, errnoField string) (uint32, error) {
	if act == "" {
		return 0, fmt.Errorf("%s: missing", actField)
	}
	known := 0
	for known < len(actions) && actions[known].name != act {
		known++
	}
	if known == len(actions) {
		return 0, fmt.Errorf("%s: unknown action %q", actField, act)
	}
	ret := actions[known].ret
	limit := uint(maxErrno)
	switch ret {
	case retTrace:
		limit = retData
	case retErrno:
	default:
		if errnoRet != nil {
			return 0, fmt.Errorf("%s: %s returns no errno", errnoField, act)
		}
		return ret, nil
	}
	if errnoRet == nil {
		return ret | eperm, nil
	}
	// A larger value would spill into the bits of the action.
	if *errnoRet > limit {
		return 0, fmt.Errorf("%s: %d is above %d", errnoField, *errnoRet, limit)
	}
	return ret | uint32(*errnoRet), nil
}

// strictness orders return values as the kernel does when several filters
// disagree: the smallest wins.
func strictness(ret uint32) int32 {
	return int32(ret & retClass) // KILL_PROCESS is negative
}

// tsync is a flag for processes with several threads; this one has one.
const tsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// filterFlags are the flags of the specification, and an older one.
var filterFlags = [...]struct {
	name specs.LinuxSeccompFlag
	bits uintptr
}{
	{specs.LinuxSeccompFlagLog, flagLog}, {specs.LinuxSeccompFlagSpecAllow, flagSpecAllow}, {tsync, 0},
	{specs.LinuxSeccompFlagWaitKillableRecv, flagWaitKillableRecv},
}

// flags translates linux.seccomp.flags.
func (p *profile) flags() (uintptr, error) {
	var bits uintptr
	if p.notify {
		bits |= flagNewListener
	}
	for i, f := range p.spec.Flags {
		known := 0
		for known < len(filterFlags) && filterFlags[known].name != f {
			known++
		}
		switch {
		case known == len(filterFlags):
			return 0, fmt.Errorf("linux.seccomp.flags[%d]: unknown flag %q", i, f)
		case f == specs.LinuxSeccompFlagWaitKillableRecv && !p.notify: // the kernel refuses it then
			p.warn("linux.seccomp.flags[%d]: %s ignored: no rule has %s", i, f, specs.ActNotify)
		default:
			bits |= filterFlags[known].bits
		}
	}
	return bits, nil
}
