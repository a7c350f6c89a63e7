// Package seccomp turns the seccomp section of a runtime-spec configuration
// (config-linux.md, "Seccomp") into a classic BPF program for seccomp(2), in
// Go alone, and holds the engine's default profile.
//
// Where the specification is silent the package decides as libseccomp and
// runc do, because profiles were written against those:
//
//   - a rule whose action equals the default action is dropped, so it cannot
//     hide a later rule for the same system call;
//   - of several rules without conditions for one system call the first
//     counts, and it hides every rule with conditions for that call, wherever
//     that stands (hiding a rule of another action gives a warning);
//   - rules with conditions are alternatives;
//   - where such alternatives differ in action they are tried in libseccomp's
//     order: those on later arguments first, then the most special comparison;
//   - the conditions of one rule must all hold, unless two of them name the
//     same argument: then each of them is a rule of its own;
//   - a masked comparison looks at the mask's bits of both values, and one
//     whose mask is empty always holds;
//   - on 32-bit architectures only the lower 32 bits of arguments and values
//     are compared: a 64-bit program that makes a 32-bit call controls the
//     upper half, which the kernel ignores;
//   - the architecture of the kernel is always filtered, listed or not.
//
// In two things it is stricter than they are. A call of an architecture that
// is not listed ends the process, where they end a thread and leave the others
// waiting for it. And a rule that allows a call under conditions does not
// allow the same through socketcall(2) or ipc(2), where no filter sees the
// arguments; libseccomp takes the conditions for such on the multiplexer's own.
package seccomp

import (
	"encoding/binary"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

//go:generate go run generate_table.go
//go:generate go run generate_default.go

// maxInsns is the kernel's BPF_MAXINSNS, the longest program it accepts.
const maxInsns = 4096

// Insn is one classic BPF instruction with the layout of the kernel's struct
// sock_filter.
type Insn struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// Filter is a compiled profile. The zero Filter stands for no filtering.
type Filter struct {
	// Insns is the program, at most 4096 instructions long.
	Insns []Insn
	// Flags are the SECCOMP_FILTER_FLAG_ bits for seccomp(2), with
	// SECCOMP_FILTER_FLAG_NEW_LISTENER when Notify is true. TSYNC is never
	// among them: the filter is loaded by a process that has one thread.
	Flags uintptr
	// Warnings name what was left out of the program, one line each.
	Warnings []string
	// Notify tells that seccomp(2) returns a descriptor that must be sent to
	// linux.seccomp.listenerPath.
	Notify bool
}

// Bytes returns the program as an array of struct sock_filter, in this
// machine's order of bytes.
func (f Filter) Bytes() []byte {
	b := make([]byte, 0, 8*len(f.Insns))
	for _, i := range f.Insns {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}

// Compile translates a profile for a kernel of the given GOARCH, or, of those
// that Go does not build for, ppc, s390, parisc, parisc64, m68k, sh (with the
// low byte first) or sheb. A nil profile compiles to the zero Filter.
//
// System calls that no supported architecture has are skipped with a warning,
// and so are architectures that this kernel cannot run. Anything else that is
// not understood is an error that names the field. Calls of an architecture
// that the profile does not list kill the process; x32 counts as one.
//
// When the default action refuses, system calls with higher numbers than any
// call the profile names give ENOSYS instead, as runc has it: a C library that
// tries a new call first then falls back to the old one, where EPERM would
// make it give up. A profile that wants ENOSYS everywhere says so with
// defaultErrnoRet.
func Compile(s *specs.LinuxSeccomp, goarch string) (Filter, error) {
	if s == nil {
		return Filter{}, nil
	}
	p, err := newProfile(s, goarch)
	if err != nil {
		return Filter{}, err
	}
	for i := range s.Syscalls {
		if err := p.addRule(i, &s.Syscalls[i]); err != nil {
			return Filter{}, err
		}
	}
	f := Filter{Notify: p.notify}
	if f.Flags, err = p.flags(); err != nil {
		return Filter{}, err
	}
	f.Insns = p.assemble()
	f.Warnings = p.warnings
	if n := len(f.Insns); n > maxInsns {
		return Filter{}, fmt.Errorf("linux.seccomp: the filter has %d instructions, the kernel accepts %d", n, maxInsns)
	}
	return f, nil
}
