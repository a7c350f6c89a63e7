package seccomp

import (
	"math/rand/v2"
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
// so each word is stored that way; the order of words is little-endian.
func (s simulator) run(t testing.TB, c call) uint32 {
	words := []uint32{c.nr, c.arch, 0x1234, 0}
	for _, a := range c.args {
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
		return arg&v == w
	}
	panic("unknown operator " + a.Op)
}

func refMatches(args []specs.LinuxSeccompArg, c call, narrow bool) bool {
	count := map[uint]int{}
	twice := false
	for _, a := range args {
		count[a.Index]++
		twice = twice || count[a.Index] > 1
	}
	for _, a := range args {
		if refHolds(a, c.args[a.Index], narrow) == twice {
			return twice
		}
	}
	return !twice
}

var byName = func() map[string]syscallRow {
	m := map[string]syscallRow{}
	for _, row := range syscallTable {
		m[row.name] = row
	}
	return m
}()

// reference decides one call by walking the profile, the plain way.
func reference(s *specs.LinuxSeccomp, goarch string, c call) uint32 {
	def := refAction(s.DefaultAction, s.DefaultErrnoRet)
	listed := map[specs.Arch]bool{}
	for _, a := range s.Architectures {
		listed[a] = true
	}
	column, narrow, nr := -1, false, int32(c.nr)
	switch {
	case goarch == "amd64" && c.arch == auditX86_64 && (c.nr < 0x40000000 || c.nr == 0xffffffff):
		column = 0
	case goarch == "amd64" && c.arch == auditX86_64 && listed[specs.ArchX32]:
		column, narrow, nr = 2, true, int32(c.nr-0x40000000)
	case goarch == "amd64" && c.arch == auditX86 && listed[specs.ArchX86]:
		column, narrow = 1, true
	case goarch == "arm64" && c.arch == auditARM64:
		column = 3
	case goarch == "arm64" && c.arch == auditARM && listed[specs.ArchARM]:
		column, narrow = 4, true
	default:
		return 0x80000000
	}
	newest := int32(-1)
	type verdict struct {
		ret  uint32
		rule specs.LinuxSyscall
	}
	var always, sometimes []verdict
	for _, rule := range s.Syscalls {
		ret := refAction(rule.Action, rule.ErrnoRet)
		for _, name := range rule.Names {
			if row, ok := byName[name]; ok {
				n := row.nr[column]
				if n >= 0 && n < 0xf0000 && !(column == 2 && n >= 512) {
					newest = max(newest, n)
				}
				r := rule
				if mux, part := int32(102), row.mux; column == 1 && part != 0 {
					if part >= 0x80 {
						mux, part = 117, part-0x80
					}
					if nr == mux && (len(r.Args) == 0 || int32(ret&0xffff0000) <= int32(def&0xffff0000)) {
						n = nr
						r.Args = []specs.LinuxSeccompArg{{Value: uint64(part), Op: specs.OpEqualTo}}
					}
				}
				if n != nr || n < 0 || ret == def {
					continue
				}
				if len(r.Args) == 0 {
					always = append(always, verdict{ret, r})
				} else {
					sometimes = append(sometimes, verdict{ret, r})
				}
			}
		}
	}
	if len(always) > 0 {
		return always[0].ret
	}
	for _, v := range sometimes {
		if refMatches(v.rule.Args, c, narrow) {
			return v.ret
		}
	}
	plain := !(column == 2 && nr >= 512 && nr < 548) && !(column == 4 && nr >= 0xf0000 && nr < 0xf0010)
	if plain && newest >= 0 && uint32(nr) > uint32(newest) && def&0xffff0000 == 0x50000 {
		return 0x50000 | 38
	}
	return def
}

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
				name = pick(r, syscallTable[:]).name
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
func randomCall(r *rand.Rand, s *specs.LinuxSeccomp) call {
	column := r.IntN(columns)
	c := call{arch: []uint32{auditX86_64, auditX86, auditX86_64, auditARM64, auditARM}[column]}
	name := pick(r, pool)
	if len(s.Syscalls) > 0 && r.IntN(4) > 0 {
		name = pick(r, pick(r, s.Syscalls).Names)
	}
	c.nr = uint32(r.IntN(600))
	if row, ok := byName[name]; ok && row.nr[column] >= 0 {
		c.nr = uint32(row.nr[column])
	}
	switch r.IntN(12) {
	case 0:
		c.nr += uint32(r.IntN(3)) - 1
	case 1:
		c.nr = uint32(edge(r))
	case 2:
		c.nr = []uint32{102, 117, 0xf0001, 0xf0005, 0xf000f, 0xf0010}[r.IntN(6)]
	}
	if column == colX32 {
		c.nr |= x32Bit
	}
	for i := range c.args {
		c.args[i] = edge(r)
	}
	return c
}

func TestAgainstReference(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	verdicts := map[uint32]int{}
	longest := 0
	for range 2000 {
		goarch := pick(r, []string{"amd64", "arm64"})
		s := randomProfile(r, goarch)
		f, err := Compile(s, goarch)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, asJSON(s))
		}
		longest = max(longest, len(f.Insns))
		sim := newSimulator(t, f.Insns)
		for range 60 {
			c := randomCall(r, s)
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
