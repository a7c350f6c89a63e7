package nft

import (
	"golang.org/x/sys/unix"

	"loper.run/internal/netlink"
)

// Expr is a part of a rule.
type Expr []byte

//go:noinline
func expr(name string, attributes []byte) Expr {
	a := netlink.AppendString(nil, unix.NFTA_EXPR_NAME, name)
	return nest(nil, unix.NFTA_LIST_ELEM, nest(a, unix.NFTA_EXPR_DATA, attributes))
}

//go:noinline
func compare(op uint32, data []byte) Expr {
	a := append32(nil, unix.NFTA_CMP_SREG, keyRegister)
	return expr("cmp", nest(append32(a, unix.NFTA_CMP_OP, op), unix.NFTA_CMP_DATA, value(data)))
}

// Is matches a field that has a value, or begins with it if it is shorter.
//
//go:noinline
func Is(f Field, value []byte) Expr {
	return append(f.load(keyRegister), compare(unix.NFT_CMP_EQ, value)...)
}

// Not matches a field that has another value.
//
//go:noinline
func Not(f Field, value []byte) Expr {
	return append(f.load(keyRegister), compare(unix.NFT_CMP_NEQ, value)...)
}

// Between matches a field that is in a range, which includes both ends. The
// numbers are big-endian.
func Between(f Field, from, to []byte) Expr {
	e := append(f.load(keyRegister), compare(unix.NFT_CMP_GTE, from)...)
	return append(e, compare(unix.NFT_CMP_LTE, to)...)
}

func (f Field) masked(mask []byte) Expr {
	a := append32(nil, unix.NFTA_BITWISE_SREG, keyRegister)
	a = append32(a, unix.NFTA_BITWISE_DREG, keyRegister)
	a = append32(a, unix.NFTA_BITWISE_LEN, uint32(len(mask)))
	a = nest(a, unix.NFTA_BITWISE_MASK, value(mask))
	a = nest(a, unix.NFTA_BITWISE_XOR, value(make([]byte, len(mask))))
	return append(f.load(keyRegister), expr("bitwise", a)...)
}

// Masked matches a field of which the bits in the mask have a value.
//
//go:noinline
func Masked(f Field, mask, value []byte) Expr {
	return append(f.masked(mask), compare(unix.NFT_CMP_EQ, value)...)
}

// NotMasked matches a field of which the bits in the mask have another value.
//
//go:noinline
func NotMasked(f Field, mask, value []byte) Expr {
	return append(f.masked(mask), compare(unix.NFT_CMP_NEQ, value)...)
}

// Any matches a field of flags, in the host's order, that has one of them.
//
//go:noinline
func Any(f Field, flags uint32) Expr { return NotMasked(f, Uint32(flags), Uint32(0)) }

// None matches a field of flags, in the host's order, that has none of them.
func None(f Field, flags uint32) Expr { return Masked(f, Uint32(flags), Uint32(0)) }

//go:noinline
func lookup(s Set, fields []Field, more []byte) Expr {
	a := netlink.AppendString(nil, unix.NFTA_LOOKUP_SET, s.Name)
	a = append32(a, unix.NFTA_LOOKUP_SREG, keyRegister)
	return append(loadAll(fields), expr("lookup", append(a, more...))...)
}

// In matches fields that are, together, in a set.
//
//go:noinline
func In(s Set, fields ...Field) Expr {
	if s.Data != nil { // older kernels want to know where the value shall be
		return valueOf(s, fields)
	}
	return lookup(s, fields, nil)
}

// NotIn matches fields that are, together, not in a set.
//
//go:noinline
func NotIn(s Set, fields ...Field) Expr {
	return lookup(s, fields, append32(nil, unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV))
}

// VerdictOf does what a map of verdicts says of fields, if it has them.
func VerdictOf(s Set, fields ...Field) Expr {
	return lookup(s, fields, append32(nil, unix.NFTA_LOOKUP_DREG, unix.NFT_REG_VERDICT))
}

// valueOf finds fields in a map.
func valueOf(s Set, fields []Field) Expr {
	return lookup(s, fields, append32(nil, unix.NFTA_LOOKUP_DREG, dataRegister))
}

func load(register uint32, data []byte) Expr {
	a := append32(nil, unix.NFTA_IMMEDIATE_DREG, register)
	return expr("immediate", nest(a, unix.NFTA_IMMEDIATE_DATA, value(data)))
}
