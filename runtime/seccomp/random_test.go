package seccomp

import (
	"math/rand/v2"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Values at which comparisons change.
var edges = []uint64{0, 1, 2, 3, 5, 8, 10, 16, 0x26, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
	0x100000000, 0x100000001, 0x100000026, 0x1ffffffff, 0x200000000, 0x7fffffffffffffff,
	0x8000000000000000, 0xfffffffeffffffff, 0xffffffff00000000, 0xfffffffffffffffe, 0xffffffffffffffff}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func edge(r *rand.Rand) uint64 {
	v := pick(r, edges)
	if r.IntN(4) == 0 {
		v += uint64(r.IntN(5)) - 2
	}
	return v
}

var (
	allActions = []specs.LinuxSeccompAction{specs.ActKill, specs.ActKillProcess, specs.ActKillThread,
		specs.ActTrap, specs.ActErrno, specs.ActTrace, specs.ActAllow, specs.ActLog, specs.ActNotify}
	allOps = []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual,
		specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}
	// Few enough that rules meet, with calls of every oddity.
	pool = []string{"read", "close", "socket", "socketcall", "accept", "accept4", "ipc", "semop", "shmctl",
		"clone", "ioctl", "ptrace", "waitid", "preadv2", "cacheflush", "set_tls", "openat2", "futex_waitv",
		"mmap", "mmap2", "personality", "exit_group", "riscv_hwprobe"}
)

func randomArgs(r *rand.Rand) (args []specs.LinuxSeccompArg) {
	for range r.IntN(4) {
		a := specs.LinuxSeccompArg{Index: uint(r.IntN(3)), Value: edge(r), Op: pick(r, allOps)}
		if a.Op == specs.OpMaskedEqual {
			a.ValueTwo = a.Value & edge(r)
			if r.IntN(8) == 0 {
				a.ValueTwo = edge(r)
			}
		}
		args = append(args, a)
	}
	return args
}

func randomProfile(r *rand.Rand, goarch string) *specs.LinuxSeccomp {
	s := &specs.LinuxSeccomp{DefaultAction: pick(r, allActions[:8]), ListenerPath: "/run/agent"}
	errno := func(a specs.LinuxSeccompAction) *uint {
		if n := uint(r.IntN(40)); (a == specs.ActErrno || a == specs.ActTrace) && r.IntN(2) == 0 {
			return &n
		}
		return nil
	}
	s.DefaultErrnoRet = errno(s.DefaultAction)
	for _, a := range family(goarch) {
		if r.IntN(3) > 0 {
			s.Architectures = append(s.Architectures, a)
		}
	}
	for range r.IntN(25) {
		rule := specs.LinuxSyscall{Action: pick(r, allActions), Args: randomArgs(r)}
		rule.ErrnoRet = errno(rule.Action)
		for range 1 + r.IntN(5) {
			name := pick(r, pool)
			if r.IntN(3) == 0 {
				name = callName(r.IntN(syscalls))
			}
			if name == "write" {
				continue
			}
			rule.Names = append(rule.Names, name)
		}
		if len(rule.Names) > 0 {
			s.Syscalls = append(s.Syscalls, rule)
		}
	}
	return s
}

// randomCall makes a call that some rule is probably about.
func randomCall(r *rand.Rand, s *specs.LinuxSeccomp, goarch string) call {
	conv := &conventions[r.IntN(len(conventions))]
	if r.IntN(20) > 0 {
		conv = conventionOf(pick(r, family(goarch)))
	}
	column := int(conv.column)
	c := call{arch: conv.audit}
	name := pick(r, pool)
	if len(s.Syscalls) > 0 && r.IntN(4) > 0 {
		name = pick(r, pick(r, s.Syscalls).Names)
	}
	c.nr = uint32(r.IntN(600))
	if nr := numberOf(name, column); nr >= 0 {
		c.nr = uint32(nr)
	}
	switch r.IntN(12) {
	case 0:
		c.nr += uint32(r.IntN(3)) - 1
	case 1:
		c.nr = uint32(edge(r))
	case 2:
		c.nr = []uint32{0, 102, 117, 0xf0001, 0xf0005, 0xf000f, 0xf0010}[r.IntN(7)]
	}
	if r.IntN(30) > 0 {
		c.nr += conv.base
	}
	for i := range c.args {
		c.args[i] = edge(r)
	}
	if r.IntN(3) == 0 {
		c.args[0] = uint64(r.IntN(26))
	}
	// Often the very value of a rule, or next to it.
	for _, rule := range s.Syscalls {
		for _, a := range rule.Args {
			if slices.Contains(rule.Names, name) && r.IntN(2) == 0 {
				v := a.Value
				if a.Op == specs.OpMaskedEqual {
					v = a.ValueTwo | edge(r)&^a.Value
				}
				c.args[a.Index] = v + []uint64{0, 0, 0, 1, ^uint64(0)}[r.IntN(5)]
			}
		}
	}
	return c
}
