package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// profile collects what the rules decide for each system call.
type profile struct {
	spec     *specs.LinuxSeccomp
	def      uint32 // return value of the default action
	abis     []*abi
	alts     []alternative
	decided  []decision
	chains   []code // conditions emitted so far
	notify   bool
	warnings []string
}

// alternative is one rule's conditions, all of which must hold, and what it
// returns then.
type alternative struct {
	conds []condition
	ret   uint32
}

// decision is what the filter does for a system call. Decisions are shared by
// all calls that came to them by the same rules, so neighbours with the same
// one merge into a range. Number 0 is the default action.
type decision struct {
	final bool   // no conditions: ret is returned
	ret   uint32 // for final decisions
	prev  uint16 // tried first, 0 at the end of the chain
	alt   int    // index of the alternative tried after prev
}

// maxDecisions is what fits in the slots' 16 bits. A program that needs more
// would be far above the kernel's limit.
const maxDecisions = 1 << 16

func newProfile(s *specs.LinuxSeccomp, goarch string) (*profile, error) {
	p := &profile{spec: s}
	var err error
	p.def, err = action(s.DefaultAction, s.DefaultErrnoRet,
		"linux.seccomp.defaultAction", "linux.seccomp.defaultErrnoRet")
	if err != nil {
		return nil, err
	}
	// The process that loads the filter makes more calls afterwards, before
	// anybody listens.
	if p.def == retNotify {
		return nil, fmt.Errorf("linux.seccomp.defaultAction: %s is for single system calls", specs.ActNotify)
	}
	if s.ListenerMetadata != "" && s.ListenerPath == "" {
		return nil, fmt.Errorf("linux.seccomp.listenerMetadata: set without linux.seccomp.listenerPath")
	}
	p.decided = append(make([]decision, 0, 64), decision{final: true, ret: p.def})
	return p, p.selectABIs(goarch)
}

func (p *profile) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// addRule enters linux.seccomp.syscalls[i].
func (p *profile) addRule(i int, rule *specs.LinuxSyscall) error {
	if len(rule.Names) == 0 {
		return fmt.Errorf("linux.seccomp.syscalls[%d].names: empty", i)
	}
	ret, conds, err := p.parseRule(i, rule)
	if err != nil {
		return err
	}
	// All names share the alternatives.
	first := len(p.alts)
	for _, c := range conds {
		p.alts = append(p.alts, alternative{c, ret})
	}
	r := ruling{ret: ret, first: first, last: len(p.alts)}
	for _, narrow := range [...]bool{false, true} {
		r.always[width(narrow)] = len(conds) == 0 || slices.ContainsFunc(conds, func(c []condition) bool {
			return !slices.ContainsFunc(c, func(c condition) bool { return !c.empty(narrow) })
		})
	}
	at := -1
	for j, name := range rule.Names {
		if name == "" {
			return fmt.Errorf("linux.seccomp.syscalls[%d].names[%d]: empty", i, j)
		}
		if ret == retNotify && name == "write" {
			return fmt.Errorf("linux.seccomp.syscalls[%d].names[%d]: %s is not possible for write, which hands over the listener", i, j, specs.ActNotify)
		}
		at = lookup(name, at)
		if at < 0 {
			p.warn("linux.seccomp.syscalls[%d].names[%d]: unknown system call %q ignored", i, j, name)
			continue
		}
		for _, a := range p.abis {
			p.enter(a, at, r)
		}
	}
	if len(p.decided) > maxDecisions {
		return fmt.Errorf("linux.seccomp.syscalls[%d]: too many different conditions", i)
	}
	return nil
}

// parseRule returns a rule's action and its alternatives: one list of
// conditions each.
func (p *profile) parseRule(i int, rule *specs.LinuxSyscall) (uint32, [][]condition, error) {
	ret, err := action(rule.Action, rule.ErrnoRet, "action", "errnoRet")
	if err != nil {
		return 0, nil, fmt.Errorf("linux.seccomp.syscalls[%d].%w", i, err)
	}
	if ret == retNotify {
		if p.spec.ListenerPath == "" {
			return 0, nil, fmt.Errorf("linux.seccomp.syscalls[%d].action: %s needs linux.seccomp.listenerPath", i, specs.ActNotify)
		}
		p.notify = true
	}
	if len(rule.Args) == 0 {
		return ret, nil, nil
	}
	conds := make([]condition, len(rule.Args))
	var seen [6]bool
	twice := false
	for j, arg := range rule.Args {
		if conds[j], err = newCondition(arg); err != nil {
			return 0, nil, fmt.Errorf("linux.seccomp.syscalls[%d].args[%d].%w", i, j, err)
		}
		twice = twice || seen[arg.Index]
		seen[arg.Index] = true
	}
	if !twice {
		slices.SortFunc(conds, func(a, b condition) int { return cmp.Compare(a.arg, b.arg) })
		return ret, [][]condition{conds}, nil
	}
	each := make([][]condition, len(conds))
	for j := range conds {
		each[j] = conds[j : j+1]
	}
	return ret, each, nil
}

// ruling is a rule as it applies to a system call: the return value, under the
// alternatives with indices first to last-1. always tells, for each width of
// arguments, that there are none or that one of them has no condition that
// could fail.
type ruling struct {
	ret         uint32
	first, last int
	always      [2]bool
}

// width is the index of a width of arguments.
func width(narrow bool) int {
	if narrow {
		return 1
	}
	return 0
}

// enter applies a rule to the i-th system call of the table in one ABI. Of
// rules that differ in action only the first without conditions counts, and
// nothing is said of it: Podman's own profile has such rules for setns.
func (p *profile) enter(a *abi, i int, r ruling) {
	column := &syscallSlots[a.column]
	if part := syscallParts[i]; part != 0 {
		p.enterPart(a, part, r)
	}
	slot := column[i]
	if slot == noSlot {
		return
	}
	a.see(slot)
	p.decide(&a.slots[slot], r, a.narrow)
}

// decide adds a rule to the decision in slot.
func (p *profile) decide(slot *uint16, r ruling, narrow bool) {
	if r.ret == p.def || *slot != 0 && p.decided[*slot].final {
		return
	}
	if r.always[width(narrow)] {
		*slot = p.intern(decision{final: true, ret: r.ret})
		return
	}
	for i := r.first; i < r.last; i++ {
		*slot = p.intern(decision{prev: *slot, alt: i})
	}
}

// intern returns the number of a decision. Equal ones share it when they are
// not far apart, as those of one rule's names are; elsewhere a second number
// only costs instructions.
func (p *profile) intern(d decision) uint16 {
	for i := len(p.decided) - 1; i > 0 && i >= len(p.decided)-64; i-- {
		if p.decided[i] == d {
			return uint16(i)
		}
	}
	if len(p.decided) <= maxDecisions { // addRule refuses more
		p.decided = append(p.decided, d)
	}
	return uint16(len(p.decided) - 1)
}

// enterPart applies a rule to the part of socketcall(2) or ipc(2) that does the
// same as the named call. Their first argument selects the part; the others lie
// in memory, where no filter sees them. So a rule with conditions counts in
// full when it is stricter than the default action, and not at all otherwise.
func (p *profile) enterPart(a *abi, part uint8, r ruling) {
	if r.ret == p.def || !r.always[width(a.narrow)] && strictness(r.ret) > strictness(p.def) {
		return
	}
	through := callSocketcall
	if part&partIPC != 0 {
		through = callIpc
	}
	slot := syscallSlots[a.column][through]
	if slot == noSlot {
		return
	}
	call := condition{op: equal, value: uint64(part &^ partIPC)}
	p.alts = append(p.alts, alternative{[]condition{call}, r.ret})
	p.decide(&a.slots[slot], ruling{ret: r.ret, first: len(p.alts) - 1, last: len(p.alts)}, a.narrow)
}
