package seccomp

import (
	"fmt"
	"math"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// operator compares an argument with a value.
type operator uint8

const (
	notEqual operator = iota
	less
	lessEqual
	equal
	greaterEqual
	greater
	maskedEqual
)

// operators are those of the specification.
var operators = [...]struct {
	name specs.LinuxSeccompOperator
	op   operator
}{
	{specs.OpNotEqual, notEqual}, {specs.OpLessThan, less}, {specs.OpLessEqual, lessEqual}, {specs.OpEqualTo, equal},
	{specs.OpGreaterEqual, greaterEqual}, {specs.OpGreaterThan, greater}, {specs.OpMaskedEqual, maskedEqual},
}

// condition tests one argument. For maskedEqual value is the mask and masked
// what must remain.
type condition struct {
	arg           uint8
	op            operator
	value, masked uint64
}

// newCondition parses an argument rule. Errors begin with the field's name.
func newCondition(a specs.LinuxSeccompArg) (condition, error) {
	c := condition{arg: uint8(a.Index), value: a.Value}
	if a.Index > 5 {
		return c, fmt.Errorf("index: %d is above 5", a.Index)
	}
	if a.Op == "" {
		return c, fmt.Errorf("op: missing")
	}
	for _, o := range operators {
		if o.name == a.Op {
			if c.op = o.op; c.op == maskedEqual {
				c.masked = a.ValueTwo & a.Value
			}
			return c, nil
		}
	}
	return c, fmt.Errorf("op: unknown operator %q", a.Op)
}

// empty tells that a condition always holds.
func (c condition) empty(narrow bool) bool {
	return c.op == maskedEqual && (c.value == 0 || narrow && uint32(c.value) == 0)
}

// span is the numbers from lo to hi, both included.
type span struct{ lo, hi uint64 }

// spans appends the values that satisfy a condition which is not maskedEqual,
// in order.
func (c condition) spans(s []span, narrow bool) []span {
	v, top := c.value, uint64(math.MaxUint64)
	if narrow {
		v, top = uint64(uint32(v)), math.MaxUint32
	}
	add := func(ok bool, lo, hi uint64) {
		if ok {
			s = append(s, span{lo, hi})
		}
	}
	// The sums and differences wrap only where the guard is false.
	switch c.op {
	case notEqual:
		add(v > 0, 0, v-1)
		add(v < top, v+1, top)
	case less:
		add(v > 0, 0, v-1)
	case lessEqual:
		add(true, 0, v)
	case equal:
		add(true, v, v)
	case greaterEqual:
		add(true, v, top)
	case greater:
		add(v < top, v+1, top)
	}
	return s
}

// union sorts spans and joins those that touch.
func union(s []span) []span {
	if len(s) < 2 {
		return s
	}
	// Nearly always sorted already, so insertion is fast.
	for i := 1; i < len(s); i++ {
		for j := i; j > 0 && s[j].lo < s[j-1].lo; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	out := s[:1]
	for _, n := range s[1:] {
		last := &out[len(out)-1]
		switch {
		case last.hi == math.MaxUint64 || n.lo <= last.hi+1:
			last.hi = max(last.hi, n.hi)
		default:
			out = append(out, n)
		}
	}
	return out
}
