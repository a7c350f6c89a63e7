package seccomp

import "slices"

// Opcodes, from linux/bpf_common.h.
const (
	opLoad = 0x20 // A = seccomp_data[K:K+4]
	opAnd  = 0x54 // A &= K
	opJump = 0x05
	opJeq  = 0x15
	opJge  = 0x35
	opJset = 0x45
	opRet  = 0x06
)

// Offsets in struct seccomp_data.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// assembler builds a program from its end to its beginning, because BPF jumps
// only forward: every target exists before the jump to it.
type assembler struct {
	code []Insn // the last instruction of the program comes first
	rets []returns
	big  bool // the upper half of an argument comes first
}

// label is an instruction's index in code, so it stays valid while more is
// put in front.
type label int32

// returns are the first and the latest return of a value.
type returns struct {
	value         uint32
	first, latest label
}

func (a *assembler) emit(code uint16, jt, jf uint8, k uint32) label {
	a.code = append(a.code, Insn{code, jt, jf, k})
	return label(len(a.code) - 1)
}

// program returns the instructions in their order of execution.
func (a *assembler) program() []Insn {
	slices.Reverse(a.code)
	return a.code
}

// ret returns a value from the filter. The label is always the same for a
// value.
func (a *assembler) ret(value uint32) label {
	for _, r := range a.rets {
		if r.value == value {
			return r.first
		}
	}
	l := a.emit(opRet, 0, 0, value)
	a.rets = append(a.rets, returns{value, l, l})
	return l
}

// reach is how far a conditional jump is let go, short of the 255 that its
// eight bits allow: reaching one target can put instructions before another.
const reach = 250

// near returns a label in reach of the next instructions that does the same
// as l: l, another return of its value, or a long jump.
func (a *assembler) near(l label) label {
	if len(a.code)-int(l) <= reach {
		return l
	}
	for i := range a.rets {
		r := &a.rets[i]
		if r.first != l {
			continue
		}
		if len(a.code)-int(r.latest) > reach {
			r.latest = a.emit(opRet, 0, 0, r.value)
		}
		return r.latest
	}
	return a.emit(opJump, 0, 0, uint32(len(a.code)-int(l)-1))
}

// branch tests A: it goes on at yes or at no.
func (a *assembler) branch(code uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	yes, no = a.near(yes), a.near(no)
	n := len(a.code)
	return a.emit(code, uint8(n-int(yes)-1), uint8(n-int(no)-1), k)
}

// follow makes sure that the next instruction put in front runs into l.
func (a *assembler) follow(l label) {
	if int(l) != len(a.code)-1 {
		a.emit(opJump, 0, 0, uint32(len(a.code)-int(l)-1))
	}
}

// load puts a word of seccomp_data into A and goes on at next.
func (a *assembler) load(offset uint32, next label) label {
	a.follow(next)
	return a.emit(opLoad, 0, 0, offset)
}

// and masks A and goes on at next.
func (a *assembler) and(mask uint32, next label) label {
	if mask == 0xffffffff {
		return next
	}
	a.follow(next)
	return a.emit(opAnd, 0, 0, mask)
}

// step says where to go on for values of A from `from` to the next step. Steps
// with more weight, one being the least, are found sooner.
type step struct {
	from   uint32
	to     label
	weight uint32
}

// test goes on where the steps say for the word at offset in seccomp_data.
// The first step must begin at 0 and none may begin below the one before it;
// of two that begin alike the second counts. It overwrites steps.
func (a *assembler) test(offset uint32, steps []step) label {
	joined := steps[:0]
	for _, s := range steps {
		if n := len(joined); n > 0 && joined[n-1].from == s.from {
			joined = joined[:n-1]
		}
		if n := len(joined); n == 0 || joined[n-1].to != s.to {
			joined = append(joined, s)
		} else {
			joined[n-1].weight = max(joined[n-1].weight, s.weight)
		}
	}
	if len(joined) == 1 {
		return joined[0].to
	}
	return a.load(offset, a.search(joined))
}

// search emits a search for A, balanced by weight.
func (a *assembler) search(s []step) label {
	switch {
	case len(s) == 1:
		return s[0].to
	case len(s) == 3 && s[0].to == s[2].to && s[2].from == s[1].from+1:
		return a.branch(opJeq, s[1].from, s[1].to, s[0].to)
	case len(s) == 2 && s[1].from == 1:
		return a.branch(opJeq, 0, s[0].to, s[1].to)
	case len(s) == 2 && s[1].from == 0xffffffff:
		return a.branch(opJeq, s[1].from, s[1].to, s[0].to)
	}
	mid := middle(s)
	high := a.search(s[mid:])
	low := a.search(s[:mid])
	return a.branch(opJge, s[mid].from, high, low)
}

// middle is where the weights before and after differ least.
func middle(s []step) int {
	total, before := int64(0), int64(0)
	for i := range s {
		total += s[i].heft()
	}
	best, least := 1, total
	for i := 1; i < len(s); i++ {
		before += s[i-1].heft()
		if off := max(total-2*before, 2*before-total); off < least {
			best, least = i, off
		}
	}
	return best
}

func (s step) heft() int64 { return int64(max(1, s.weight)) }
