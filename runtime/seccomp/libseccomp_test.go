package seccomp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// libseccomp's names for architectures, in the order of the table's columns.
var scmpArch = [columns]uint32{0xc000003e, 0x40000003, 0x4000003e, 0xc00000b7, 0x40000028}

// buildHelper compiles the program that asks libseccomp.
func buildHelper(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skipf("the comparison is written for amd64, this is %s", runtime.GOARCH)
	}
	exe := filepath.Join(t.TempDir(), "libseccomp")
	out, err := exec.Command("gcc", "-O1", "-o", exe, "testdata/libseccomp.c", "-lseccomp").CombinedOutput()
	if err != nil {
		t.Skipf("needs gcc and libseccomp-dev: %v %s", err, out)
	}
	return exe
}

// ask returns nil when libseccomp refused a rule because an architecture had
// the same one with another action.
func ask(t *testing.T, exe, input string) []byte {
	t.Helper()
	cmd := exec.Command(exe)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &stderr
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() == 3 {
		return nil
	}
	if err != nil {
		t.Fatalf("libseccomp: %v: %s\n%s", err, stderr.String(), input)
	}
	return out
}

func TestNumbersAgainstLibseccomp(t *testing.T) {
	exe := buildHelper(t)
	var in strings.Builder
	for _, row := range syscallTable {
		for _, arch := range scmpArch {
			fmt.Fprintf(&in, "numbers %#x %s\n", arch, row.name)
		}
	}
	answers := strings.Fields(string(ask(t, exe, in.String())))
	compared := 0
	for i, row := range syscallTable {
		for column := range scmpArch {
			theirs, err := strconv.Atoi(answers[i*columns+column])
			if err != nil {
				t.Fatal(err)
			}
			if column == colX32 && theirs > 0 {
				theirs &^= x32Bit
			}
			ours := int(row.nr[column])
			switch {
			case theirs >= 0 && ours == theirs:
				compared++
			case theirs < 0 && newerThanLibseccomp(int32(ours)):
				// This libseccomp is older than the call.
			case theirs < 0 && ours == -1:
				// Unknown, or a pseudo number: other architectures have it.
			case theirs <= -100 && row.mux != 0 && column == colX86:
				// A part of socketcall or ipc as well as a call.
			default:
				t.Errorf("%s, column %d: number %d, libseccomp has %d", row.name, column, ours, theirs)
			}
		}
	}
	if compared < 1500 {
		t.Errorf("only %d numbers compared", compared)
	}
}

// newerThanLibseccomp tells which numbers Debian 12's version lacks; 335 and
// 336 are x86_64's late uretprobe and uprobe.
func newerThanLibseccomp(nr int32) bool {
	return nr > 450 && nr < 500 || nr == 335 || nr == 336
}

var scmpOps = map[specs.LinuxSeccompOperator]int{specs.OpNotEqual: 1, specs.OpLessThan: 2, specs.OpLessEqual: 3,
	specs.OpEqualTo: 4, specs.OpGreaterEqual: 5, specs.OpGreaterThan: 6, specs.OpMaskedEqual: 7}

// scmpInput describes a profile the way runc feeds it to libseccomp.
func scmpInput(s *specs.LinuxSeccomp, goarch string) string {
	var in strings.Builder
	act := func(a specs.LinuxSeccompAction, errno *uint) uint32 { return refAction(a, errno) }
	def := act(s.DefaultAction, s.DefaultErrnoRet)
	fmt.Fprintf(&in, "default %#x\n", def)
	column := map[specs.Arch]int{specs.ArchX86_64: 0, specs.ArchX86: 1, specs.ArchX32: 2, specs.ArchAARCH64: 3, specs.ArchARM: 4}
	fmt.Fprintf(&in, "arch %#x\n", scmpArch[column[family(goarch)[0]]])
	for _, a := range s.Architectures {
		if a != family(goarch)[0] {
			fmt.Fprintf(&in, "arch %#x\n", scmpArch[column[a]])
		}
	}
	for _, rule := range s.Syscalls {
		ret := act(rule.Action, rule.ErrnoRet)
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

func TestAgainstLibseccomp(t *testing.T) {
	exe := buildHelper(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	checked, refused := 0, 0
	for range 400 {
		const goarch = "amd64"
		s := comparable(r, randomProfile(r, goarch))
		f, err := Compile(s, goarch)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, asJSON(s))
		}
		raw := ask(t, exe, scmpInput(s, goarch))
		if raw == nil {
			refused++
			continue
		}
		theirs := make([]Insn, len(raw)/8)
		if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, theirs); err != nil {
			t.Fatal(err)
		}
		a, b := newSimulator(t, f.Insns), newSimulator(t, theirs)
		for range 200 {
			c := randomCall(r, s)
			got, want := a.run(t, c), b.run(t, c)
			if got == retErrno|enosys && want == refAction(s.DefaultAction, s.DefaultErrnoRet) && got == reference(s, goarch, c) {
				continue // runc's addition
			}
			if got != want {
				t.Fatalf("seed %d: %+x: verdict %#x, libseccomp's is %#x\n%s", seed, c, got, want, asJSON(s))
			}
			checked++
		}
	}
	t.Logf("%d verdicts, %d profiles refused", checked, refused)
	if checked < 20000 {
		t.Errorf("only %d verdicts compared", checked)
	}
}

// comparable removes from a profile what libseccomp 2.5 does not know or gets
// wrong: names that one of the architectures lacks, which can lose it the load
// of the number; parts of socketcall and ipc, whose arguments it mixes up with
// theirs; several rules with conditions for one call, which it merges into a
// wrong tree when they are wide, on several arguments or of several actions;
// empty masks, which it takes for no condition.
func comparable(r *rand.Rand, s *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	act := pick(r, []specs.LinuxSeccompAction{specs.ActAllow, specs.ActKillProcess, specs.ActTrap})
	wide := r.IntN(2) == 0 // wide values and several arguments, or several rules
	conditional := map[string]bool{}
	var rules []specs.LinuxSyscall
	for _, rule := range s.Syscalls {
		rule.Args = slices.Clone(rule.Args)
		if len(rule.Args) > 0 {
			rule.Action, rule.ErrnoRet = act, nil
			if wide {
				seen := [6]bool{}
				rule.Args = slices.DeleteFunc(rule.Args, func(a specs.LinuxSeccompArg) bool {
					was := seen[a.Index]
					seen[a.Index] = true
					return was
				})
			}
			for i := range rule.Args {
				a := &rule.Args[i]
				if !wide {
					a.Index, a.Value = 1, a.Value&0x7fffffff
				}
				if a.Op == specs.OpMaskedEqual {
					a.Value |= 1 // an empty mask counts as no condition there
				}
				a.ValueTwo &= a.Value
			}
		}
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(n string) bool {
			row := byName[n]
			missing, newer := false, false
			for _, nr := range row.nr[:colX32+1] {
				missing = missing || nr < 0
				newer = newer || newerThanLibseccomp(nr)
			}
			again := wide && len(rule.Args) > 0 && conditional[n]
			conditional[n] = conditional[n] || len(rule.Args) > 0
			return missing || newer || again || row.mux != 0
		})
		if len(rule.Names) > 0 {
			rules = append(rules, rule)
		}
	}
	s.Syscalls = rules
	return s
}
