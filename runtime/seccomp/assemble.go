package seccomp

import "math"

// assemble writes the program. Backwards: the conditions' code, each
// architecture's search tree over it, and in front of all the dispatch on the
// architecture.
func (p *profile) assemble() []Insn {
	a := &assembler{code: make([]Insn, 0, 512), big: p.abis[0].bigEndian()}
	dispatch := a.ret(retKillProcess)
	for i := len(p.abis) - 1; i >= 0; i-- {
		abi := p.abis[i]
		if abi.column == colX32 {
			continue // part of x86_64's tree
		}
		section := a.test(offNr, p.steps(a, abi))
		dispatch = a.branch(opJeq, abi.audit, section, dispatch)
	}
	a.load(offArch, dispatch)
	return a.program()
}

// steps describes what happens to each number of an audit architecture.
func (p *profile) steps(a *assembler, main *abi) []step {
	s := p.abiSteps(a, main, make([]step, 0, 256))
	if main.column != colX86_64 {
		return s
	}
	var x32 *abi
	for _, b := range p.abis {
		if b.column == colX32 {
			x32 = b
		}
	}
	if x32 != nil {
		s = p.abiSteps(a, x32, s)
	} else {
		s = append(s, step{from: x32Bit, to: a.ret(retKillProcess)})
	}
	// A tracer skips a call by setting its number to -1: no call of x32.
	return append(s, step{from: math.MaxUint32, to: a.ret(p.newer(main))})
}

// abiSteps appends the steps for one ABI's numbers.
func (p *profile) abiSteps(a *assembler, b *abi, s []step) []step {
	def, newer := a.ret(p.def), a.ret(p.newer(b))
	if b.base > 0 && len(s) == 0 {
		s = append(s, step{from: 0, to: def})
	}
	common := commonSlots(b.column)
	// run appends the decisions in the slots from first to last, whose
	// numbers begin at from.
	run := func(from uint32, first, last int32) {
		s = append(s, step{from: from, to: def})
		decided := uint16(0)
		for slot := first; slot <= last; slot++ {
			if d := b.slots[slot]; d != decided {
				decided = d
				s = append(s, step{from + uint32(slot-first), p.chain(a, d, b.narrow), p.weight(d)})
			}
			if common.has(slot) {
				s[len(s)-1].weight++
			}
		}
		s = append(s, step{from: from + uint32(last-first) + 1, to: newer})
	}
	run(b.base, 0, b.newest)
	// What does a named call's work may have a higher number than all of them.
	for _, call := range []int{callSocketcall, callIpc} {
		if slot := syscallSlots[b.column][call]; slot < directSlots && int32(slot) > b.newest && b.slots[slot] != 0 {
			run(b.base+uint32(slot), int32(slot), int32(slot))
		}
	}
	switch b.column {
	case colX32:
		run(b.base+x32Own, x32Own, x32End-1)
	case colARM:
		run(armPrivate, directSlots, directSlots+privateSlots-1)
	case colS390, colS390X:
		// Where the kernel does not know a number that did not fit into the
		// instruction, the filter sees 0.
		if p.newer(b) != p.def && b.slots[0] == 0 {
			s = append([]step{{from: 0, to: newer}, {from: 1, to: def}}, s[1:]...)
		}
	}
	return s
}

// newer is the return value for calls newer than any that the profile names.
// Where the default action lets calls happen, or asks a tracer, it holds for
// them too.
func (p *profile) newer(b *abi) uint32 {
	if b.newest < 0 || b.base+uint32(b.newest) == 0 {
		return p.def
	}
	switch p.def & retClass {
	case retAllow, retLog, retTrace:
		return p.def
	}
	return retErrno | enosys
}
