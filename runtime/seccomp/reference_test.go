package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
)

// call is what the kernel shows a filter.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

const (
	auditX86_64 = 0xc000003e
	auditX86    = 0x40000003
	auditARM64  = 0xc00000b7
	auditARM    = 0x40000028
)

// goarches are the kernels there are filters for.
var goarches = []string{"amd64", "386", "arm64", "arm", "riscv64", "loong64", "ppc64le", "ppc64", "ppc", "s390x", "s390",
	"mips64", "mips", "mips64le", "mipsle", "parisc64", "parisc", "m68k", "sh", "sheb"}

// simulator is an independent implementation of BPF.
type simulator struct{ vm *bpf.VM }

func newSimulator(t testing.TB, insns []Insn) simulator {
	t.Helper()
	var prog []bpf.Instruction
	for i, in := range insns {
		d := bpf.RawInstruction{Op: in.Code, Jt: in.Jt, Jf: in.Jf, K: in.K}.Disassemble()
		if _, raw := d.(bpf.RawInstruction); raw {
			t.Fatalf("instruction %d is not BPF: %+v", i, in)
		}
		prog = append(prog, d)
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatalf("invalid program: %v", err)
	}
	return simulator{vm}
}

// run returns the filter's verdict. The simulator reads big-endian packets,
// so each word is stored that way; the order of words is the architecture's.
func (s simulator) run(t testing.TB, c call) uint32 {
	words := []uint32{c.nr, c.arch, 0x1234, 0}
	for _, a := range c.args {
		if c.arch&0x40000000 == 0 {
			a = a<<32 | a>>32
		}
		words = append(words, uint32(a), uint32(a>>32))
	}
	var b []byte
	for _, w := range words {
		b = append(b, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
	}
	v, err := s.vm.Run(b)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return uint32(v)
}

func refAction(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(1)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case specs.ActKill, specs.ActKillThread:
		return 0
	case specs.ActKillProcess:
		return 0x80000000
	case specs.ActTrap:
		return 0x30000
	case specs.ActErrno:
		return 0x50000 | data
	case specs.ActNotify:
		return 0x7fc00000
	case specs.ActTrace:
		return 0x7ff00000 | data
	case specs.ActLog:
		return 0x7ffc0000
	case specs.ActAllow:
		return 0x7fff0000
	}
	panic("unknown action " + a)
}

func refHolds(a specs.LinuxSeccompArg, arg uint64, narrow bool) bool {
	v, w := a.Value, a.ValueTwo
	if narrow {
		arg, v, w = arg&0xffffffff, v&0xffffffff, w&0xffffffff
	}
	switch a.Op {
	case specs.OpNotEqual:
		return arg != v
	case specs.OpLessThan:
		return arg < v
	case specs.OpLessEqual:
		return arg <= v
	case specs.OpEqualTo:
		return arg == v
	case specs.OpGreaterEqual:
		return arg >= v
	case specs.OpGreaterThan:
		return arg > v
	case specs.OpMaskedEqual:
		return arg&v == w&v
	}
	panic("unknown operator " + a.Op)
}

// numberOf is what a call of the table has in a column, -1 where it is not
// there.
func numberOf(name string, column int) int32 {
	i := lookup(name, -1)
	if i < 0 || syscallSlots[column][i] == noSlot {
		return -1
	}
	nr := int32(syscallSlots[column][i])
	if nr >= 1024 {
		nr += 0xf0000 - 1024
	}
	return nr
}

// partOf is which part of socketcall or ipc a call is, and their numbers.
func partOf(name string, column int) (mux int32, part uint8) {
	i := lookup(name, -1)
	if i < 0 || syscallParts[i] == 0 {
		return -1, 0
	}
	if part = syscallParts[i]; part < 0x80 {
		return numberOf("socketcall", column), part
	}
	return numberOf("ipc", column), part - 0x80
}

// conventionFor tells which calls a number is among, nil when the filter kills
// them, and the number without its base.
func conventionFor(s *specs.LinuxSeccomp, goarch string, c call) (*convention, int32) {
	for i, name := range family(goarch) {
		conv := conventionOf(name)
		if c.arch != conv.audit || i > 0 && !slices.Contains(s.Architectures, name) {
			continue
		}
		if goarch == "amd64" && c.arch == auditX86_64 && (c.nr >= 0x40000000 && c.nr != 0xffffffff) != (name == specs.ArchX32) {
			continue
		}
		return conv, int32(c.nr - conv.base)
	}
	return nil, 0
}

type verdict struct {
	ret  uint32
	args []specs.LinuxSeccompArg
}

// priority is how libseccomp orders comparisons on one level of its tree.
func priority(a specs.LinuxSeccompArg, narrow bool) [3]uint64 {
	v, class := a.Value, uint64(2)
	if a.Op == specs.OpMaskedEqual {
		v = a.ValueTwo & a.Value
	}
	if narrow {
		v &= 0xffffffff
	}
	switch a.Op {
	case specs.OpLessThan, specs.OpLessEqual:
		v, class = ^v, 1
	case specs.OpGreaterThan, specs.OpGreaterEqual:
		class = 0
	}
	return [3]uint64{uint64(a.Index), class, v}
}

// before tells that libseccomp tries a before b.
func before(a, b verdict, narrow bool) int {
	for i := range min(len(a.args), len(b.args)) {
		x, y := priority(a.args[i], narrow), priority(b.args[i], narrow)
		if c := slices.Compare(y[:], x[:]); c != 0 {
			return c
		}
	}
	return len(a.args) - len(b.args)
}

// rulings are the rules that a profile has for a call: those without
// conditions, those with, each with its arguments in their order.
func rulings(s *specs.LinuxSeccomp, conv *convention, nr int32) (always, sometimes []verdict, newest int32) {
	def := refAction(s.DefaultAction, s.DefaultErrnoRet)
	column := int(conv.column)
	newest = -1
	for _, rule := range s.Syscalls {
		ret := refAction(rule.Action, rule.ErrnoRet)
		for _, name := range rule.Names {
			n := numberOf(name, column)
			if n >= 0 && n < 0xf0000 && !(column == colX32 && n >= 512) {
				newest = max(newest, n)
			}
			args := slices.Clone(rule.Args)
			seen, twice := map[uint]bool{}, false
			for _, a := range args {
				twice = twice || seen[a.Index]
				seen[a.Index] = true
			}
			// An empty mask is no condition.
			solid := slices.DeleteFunc(slices.Clone(args), func(a specs.LinuxSeccompArg) bool {
				return a.Op == specs.OpMaskedEqual && (a.Value == 0 || conv.narrow && uint32(a.Value) == 0)
			})
			if len(solid) < len(args) && (twice || len(solid) == 0) {
				args, twice = nil, false
			} else {
				args = solid
			}
			if mux, part := partOf(name, column); part != 0 && mux == nr &&
				(len(args) == 0 || int32(ret&0xffff0000) <= int32(def&0xffff0000)) {
				n = nr
				args, twice = []specs.LinuxSeccompArg{{Value: uint64(part), Op: specs.OpEqualTo}}, false
			}
			if n != nr || n < 0 || ret == def {
				continue
			}
			switch {
			case len(args) == 0:
				always = append(always, verdict{ret, nil})
			case twice:
				for _, a := range args {
					sometimes = append(sometimes, verdict{ret, []specs.LinuxSeccompArg{a}})
				}
			default:
				slices.SortFunc(args, func(a, b specs.LinuxSeccompArg) int { return int(a.Index) - int(b.Index) })
				sometimes = append(sometimes, verdict{ret, args})
			}
		}
	}
	return always, sometimes, newest
}

func (v verdict) holds(c call, narrow bool) bool {
	for _, a := range v.args {
		if !refHolds(a, c.args[a.Index], narrow) {
			return false
		}
	}
	return true
}

// reference decides one call by walking the profile, the plain way.
func reference(s *specs.LinuxSeccomp, goarch string, c call) uint32 {
	conv, nr := conventionFor(s, goarch, c)
	if conv == nil {
		return 0x80000000
	}
	column, def := int(conv.column), refAction(s.DefaultAction, s.DefaultErrnoRet)
	always, sometimes, newest := rulings(s, conv, nr)
	if len(always) > 0 {
		return always[0].ret
	}
	differ := slices.ContainsFunc(sometimes, func(v verdict) bool { return v.ret != sometimes[0].ret })
	if differ {
		slices.SortStableFunc(sometimes, func(a, b verdict) int { return before(a, b, conv.narrow) })
	}
	for _, v := range sometimes {
		if v.holds(c, conv.narrow) {
			return v.ret
		}
	}
	class := def & 0xffff0000
	if newest < 0 || newest == 0 && conv.base == 0 || class == 0x7fff0000 || class == 0x7ffc0000 || class == 0x7ff00000 {
		return def
	}
	own := column == colX32 && nr >= 512 && nr < 548 || column == colARM && nr >= 0xf0000 && nr < 0xf0010
	below := c.nr < conv.base
	if !own && !below && uint32(nr) > uint32(newest) && len(sometimes) == 0 || nr == 0 && (column == colS390 || column == colS390X) && len(sometimes) == 0 {
		return 0x50000 | 38
	}
	return def
}

func TestAgainstReference(t *testing.T) {
	seed := seedOfRun()
	r := rand.New(rand.NewPCG(seed, 1))
	verdicts := map[uint32]int{}
	longest := 0
	for range 2000 {
		goarch := pick(r, goarches)
		s := randomProfile(r, goarch)
		f, err := Compile(s, goarch)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, asJSON(s))
		}
		longest = max(longest, len(f.Insns))
		sim := newSimulator(t, f.Insns)
		for range 60 {
			c := randomCall(r, s, goarch)
			got, want := sim.run(t, c), reference(s, goarch, c)
			if got != want {
				t.Fatalf("seed %d: %s, %+x: verdict %#x, want %#x\n%s", seed, goarch, c, got, want, asJSON(s))
			}
			verdicts[got&retClass]++
		}
	}
	if len(verdicts) != 8 {
		t.Errorf("only these verdicts occurred: %x", verdicts)
	}
	t.Logf("longest program: %d instructions; verdicts: %x", longest, verdicts)
}
