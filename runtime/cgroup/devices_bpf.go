package cgroup

import "encoding/binary"

// insn is the kernel's struct bpf_insn.
type insn struct {
	code byte
	regs byte // destination and source register, a nibble each
	off  int16
	imm  int32
}

// The few operations that a device filter is made of (linux/bpf.h, linux/bpf_common.h). All arithmetic and comparing is
// on 32 bits, so that a number with the top bit set needs no care.
const (
	opLoad   = 0x61 // dst = *(u32 *)(src + off)
	opMov    = 0xb4 // dst = imm
	opMovReg = 0xbc // dst = src
	opAnd    = 0x54 // dst &= imm
	opShr    = 0x74 // dst >>= imm
	opJump   = 0x05 // skip off
	opJumpNE = 0x56 // if dst != imm skip off
	opJumpIf = 0x46 // if dst & imm skip off
	opExit   = 0x95
)

const (
	regResult = 0
	regCtx    = 1
	regKind   = 2
	regAccess = 3 // the ways of access that no rule has allowed yet
	regMajor  = 4
	regMinor  = 5
)

// deviceFilter assembles a BPF_PROG_TYPE_CGROUP_DEVICE program for the rules. The last rule about a device and a way of
// access decides, and what no rule names is denied: so it goes through them from the last to the first, strikes out
// the ways that are allowed, and ends with 'no' at the first way denied or with 'yes' when none is left.
func deviceFilter(rules []rule) []insn {
	// struct bpf_cgroup_dev_ctx: kind in the low and access in the high half of the first word, then major and minor.
	p := []insn{
		{opLoad, regs(regKind, regCtx), 0, 0},
		{opMovReg, regs(regAccess, regKind), 0, 0},
		{opAnd, regs(regKind, 0), 0, 0xffff},
		{opShr, regs(regAccess, 0), 0, 16},
		{opLoad, regs(regMajor, regCtx), 4, 0},
		{opLoad, regs(regMinor, regCtx), 8, 0},
	}
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		p = append(p, r.assemble()...)
		if r.everything() {
			return p // the verifier refuses instructions that nothing can reach
		}
	}
	return append(p, verdict(0)...)
}

// assemble gives the instructions for one rule; those that find it does not apply jump behind the last one.
func (r rule) assemble() []insn {
	var p []insn
	if r.kind != 'a' {
		kind := int32(1) // BPF_DEVCG_DEV_BLOCK
		if r.kind == 'c' {
			kind = 2
		}
		p = append(p, insn{opJumpNE, regs(regKind, 0), 0, kind})
	}
	if r.major != anyNumber {
		p = append(p, insn{opJumpNE, regs(regMajor, 0), 0, int32(uint32(r.major))})
	}
	if r.minor != anyNumber {
		p = append(p, insn{opJumpNE, regs(regMinor, 0), 0, int32(uint32(r.minor))})
	}
	result := int32(0)
	switch {
	case r.allow:
		result = 1
		if r.access != accessAll {
			p = append(p, insn{opAnd, regs(regAccess, 0), 0, int32(accessAll &^ r.access)})
			p = append(p, insn{opJumpNE, regs(regAccess, 0), 0, 0})
		}
	case r.access != accessAll:
		p = append(p, insn{opJumpIf, regs(regAccess, 0), 1, int32(r.access)})
		p = append(p, insn{opJump, 0, 0, 0})
	}
	p = append(p, verdict(result)...)
	for i := range p {
		if (p[i].code == opJumpNE || p[i].code == opJump) && p[i].off == 0 {
			p[i].off = int16(len(p) - i - 1)
		}
	}
	return p
}

func verdict(n int32) []insn {
	return []insn{{opMov, regs(regResult, 0), 0, n}, {code: opExit}}
}

func regs(dst, src byte) byte {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return dst | src<<4
	}
	return dst<<4 | src
}
