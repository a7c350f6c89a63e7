package seccomp

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var (
	randomProfiles = flag.Int("profiles", 400, "how many random profiles are compared with libseccomp")
	randomSeed     = flag.Uint64("seed", 1, "what random profiles begin with; 0: something new")
)

func seedOfRun() uint64 {
	if *randomSeed != 0 {
		return *randomSeed
	}
	return rand.Uint64()
}

var scmpOps = map[specs.LinuxSeccompOperator]int{specs.OpNotEqual: 1, specs.OpLessThan: 2, specs.OpLessEqual: 3,
	specs.OpEqualTo: 4, specs.OpGreaterEqual: 5, specs.OpGreaterThan: 6, specs.OpMaskedEqual: 7}

// scmpInput describes a profile the way runc feeds it to libseccomp.
func scmpInput(s *specs.LinuxSeccomp, goarch string) string {
	var in strings.Builder
	def := refAction(s.DefaultAction, s.DefaultErrnoRet)
	fmt.Fprintf(&in, "default %#x\n", def)
	own := family(goarch)[0]
	fmt.Fprintf(&in, "arch %#x\n", scmpArch(conventionOf(own)))
	for i, a := range s.Architectures {
		if a != own && slices.Contains(family(goarch), a) && !slices.Contains(s.Architectures[:i], a) {
			fmt.Fprintf(&in, "arch %#x\n", scmpArch(conventionOf(a)))
		}
	}
	rules := 0
	for _, rule := range s.Syscalls {
		if refAction(rule.Action, rule.ErrnoRet) != def {
			rules += len(rule.Names)
		}
	}
	// Optimizing for another order of bytes it forgets to swap the default.
	if rules > 32 && !conventionOf(own).bigEndian() {
		fmt.Fprintln(&in, "optimize")
	}
	for _, rule := range s.Syscalls {
		ret := refAction(rule.Action, rule.ErrnoRet)
		if ret == def {
			continue
		}
		groups := [][]specs.LinuxSeccompArg{rule.Args}
		seen := map[uint]bool{}
		for _, a := range rule.Args {
			if seen[a.Index] {
				groups = nil
				for _, a := range rule.Args {
					groups = append(groups, []specs.LinuxSeccompArg{a})
				}
				break
			}
			seen[a.Index] = true
		}
		for _, name := range rule.Names {
			for _, g := range groups {
				fmt.Fprintf(&in, "rule %#x %s", ret, name)
				for _, a := range g {
					fmt.Fprintf(&in, " %d %d %#x %#x", a.Index, scmpOps[a.Op], a.Value, a.ValueTwo)
				}
				fmt.Fprintln(&in)
			}
		}
	}
	return in.String()
}

// scmpProgram reads what libseccomp writes, in the order of bytes of the
// profile's architecture.
func scmpProgram(t testing.TB, raw []byte, goarch string) []Insn {
	var order binary.ByteOrder = binary.LittleEndian
	if conventionOf(family(goarch)[0]).bigEndian() {
		order = binary.BigEndian
	}
	program := make([]Insn, len(raw)/8)
	if err := binary.Read(bytes.NewReader(raw), order, program); err != nil {
		t.Fatal(err)
	}
	return program
}

// justified tells whether any order of the rules gives this verdict: one that
// holds has it, or it is the default and no rule holds. libseccomp merges
// several rules for a call into one tree, in which a comparison that fails
// sometimes leaves out the rules behind it, or finds one that does not hold.
func justified(always, sometimes []verdict, c call, narrow bool, ret, def uint32) bool {
	any := false
	for _, v := range append(always, sometimes...) {
		if v.holds(c, narrow) {
			any = true
			if v.ret == ret {
				return true
			}
		}
	}
	return !any && ret == def
}

// swapBack repairs verdicts that libseccomp forgets to put into the order of
// another machine's bytes.
func swapBack(goarch string, ret uint32) uint32 {
	if swapped := bits.ReverseBytes32(ret); goarch != "amd64" && !isVerdict(ret) && isVerdict(swapped) {
		return swapped
	}
	return ret
}

// isVerdict tells whether a filter returns this.
func isVerdict(ret uint32) bool {
	switch ret & retClass {
	case retErrno, retTrace:
		return true
	case retKillProcess, retKillThread, retTrap, retNotify, retLog, retAllow:
		return ret&retData == 0
	}
	return false
}

// through tells whether a call is socketcall or ipc.
func through(s *specs.LinuxSeccomp, goarch string, c call) bool {
	conv, nr := conventionFor(s, goarch, c)
	return conv != nil && (nr == numberOf("socketcall", int(conv.column)) || nr == numberOf("ipc", int(conv.column)))
}

func TestAgainstLibseccomp(t *testing.T) {
	exe := buildHelper(t)
	numbers := scmpNumbers(t, exe)
	// Two calls that this machine has not got have one pseudo number in
	// version 2.5: sys_debug_setcontext is taken for switch_endian.
	shared := map[int]int{}
	for _, nr := range numbers[0] {
		shared[nr]++
	}
	// unknown tells that this libseccomp lacks a call, or its number on one of
	// the family's architectures.
	unknown := func(goarch, name string) bool {
		at := lookup(name, -1)
		for i := range conventions {
			if conv := &conventions[i]; slices.Contains(family(goarch), conv.name) {
				ours, theirs := numberOf(name, int(conv.column)), numbers[i][at]
				if ours >= 0 && theirs != int(ours)+int(conv.base) && syscallParts[at] == 0 {
					return true
				}
			}
		}
		return numbers[0][at] == -1 || shared[numbers[0][at]] > 1
	}
	seed := seedOfRun()
	r := rand.New(rand.NewPCG(seed, 2))
	var n struct{ verdicts, newer, parts, overlaps, wrong, ordered, lost, refused int }
	for range *randomProfiles {
		goarch := pick(r, scmpArches)
		s := randomProfile(r, goarch)
		for i := range s.Syscalls {
			rule := &s.Syscalls[i]
			rule.Names = slices.DeleteFunc(rule.Names, func(n string) bool { return unknown(goarch, n) })
		}
		s.Syscalls = slices.DeleteFunc(s.Syscalls, func(rule specs.LinuxSyscall) bool { return len(rule.Names) == 0 })
		f, err := Compile(s, goarch)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, asJSON(s))
		}
		raw := ask(t, exe, scmpInput(s, goarch))
		if raw == nil {
			n.refused++
			continue
		}
		lacking := false
		for i := range conventions {
			conv := &conventions[i]
			if j := slices.Index(family(goarch), conv.name); j < 0 || j > 0 && !slices.Contains(s.Architectures, conv.name) {
				continue
			}
			for _, rule := range s.Syscalls {
				lacking = lacking || slices.ContainsFunc(rule.Names, func(n string) bool { return numberOf(n, int(conv.column)) < 0 })
			}
		}
		a, b := newSimulator(t, f.Insns), newSimulator(t, scmpProgram(t, raw, goarch))
		for range 200 {
			c := randomCall(r, s, goarch)
			got, want := a.run(t, c), swapBack(goarch, b.run(t, c))
			n.verdicts++
			conv, nr := conventionFor(s, goarch, c)
			var always, sometimes []verdict
			if conv != nil {
				always, sometimes, _ = rulings(s, conv, nr)
			}
			overlap := len(always) == 0 && len(sometimes) > 1
			if overlap {
				n.overlaps++
			}
			def := refAction(s.DefaultAction, s.DefaultErrnoRet)
			switch {
			case got == want:
			case got == retErrno|enosys && want == def && got == reference(s, goarch, c):
				n.newer++ // runc adds it to what libseccomp makes
			case through(s, goarch, c):
				// libseccomp takes conditions on a call's arguments for
				// conditions on the multiplexer's.
				n.parts++
			case overlap && !justified(always, sometimes, c, conv.narrow, want, def):
				n.wrong++
			case overlap && slices.ContainsFunc(sometimes, func(v verdict) bool { return v.ret != sometimes[0].ret }):
				n.ordered++
			case lacking && (want == def || !justified(always, sometimes, c, conv.narrow, want, def)):
				// After a name that an architecture lacks it can forget to
				// load the number, and decides by what was loaded before.
				n.lost++
			default:
				t.Fatalf("seed %d: %s %+x: verdict %#x, libseccomp's is %#x; rules for it %+x, %+x\n%s", seed, goarch, c, got, want, always, sometimes, asJSON(s))
			}
		}
	}
	t.Logf("%d verdicts (%d of profiles with several conditional rules for the call). Not libseccomp's: %d newer than the profile, %d of socketcall and ipc; "+
		"of several rules, %d that no rule explains, %d of another order; %d with the number not loaded. %d profiles refused by libseccomp.",
		n.verdicts, n.overlaps, n.newer, n.parts, n.wrong, n.ordered, n.lost, n.refused)
	if n.verdicts < 100**randomProfiles || n.overlaps < n.verdicts/50 {
		t.Errorf("too few verdicts: %+v", n)
	}
	if n.wrong > n.overlaps/10 || n.ordered > n.overlaps/50 || n.lost > n.verdicts/50 {
		t.Errorf("too many verdicts unlike libseccomp's: %+v", n)
	}
}

// scmpArches are the kernels that Debian 12's libseccomp knows.
var scmpArches = []string{"amd64", "386", "arm64", "arm", "riscv64", "ppc64le", "ppc64", "ppc", "s390x", "s390",
	"mips64", "mips", "mips64le", "mipsle", "parisc64", "parisc"}
