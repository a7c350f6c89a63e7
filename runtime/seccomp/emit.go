package seccomp

import "math"

// code is the place of a decision's instructions.
type code struct {
	decided uint16
	narrow  bool
	at      label
}

// chain emits the alternatives of a decision, once for each width of
// arguments.
func (p *profile) chain(a *assembler, d uint16, narrow bool) label {
	if dec := p.decided[d]; dec.final {
		return a.ret(dec.ret)
	}
	for _, c := range p.chains {
		if c.decided == d && c.narrow == narrow {
			return c.at
		}
	}
	next := a.ret(p.def)
	alts := p.alternatives(d, narrow)
	// From the alternative tried last to the first. What is too long already
	// will be refused, so the rest need not be emitted.
	for i := len(alts) - 1; i >= 0 && len(a.code) <= maxInsns; i-- {
		alt := alts[i]
		if c := alt.conds[0]; len(alt.conds) == 1 && c.op != maskedEqual {
			// Tests of the same argument for the same action become one
			// search: the usual long list of socket families, say.
			set := c.spans(nil, narrow)
			for ; i > 0; i-- {
				more := alts[i-1]
				if m := more.conds[0]; len(more.conds) > 1 || m.op == maskedEqual || m.arg != c.arg || more.ret != alt.ret {
					break
				}
				set = more.conds[0].spans(set, narrow)
			}
			next = a.within(c.arg, union(set), narrow, a.ret(alt.ret), next)
			continue
		}
		yes := a.ret(alt.ret)
		for j := len(alt.conds) - 1; j >= 0; j-- {
			yes = a.condition(alt.conds[j], narrow, yes, next)
		}
		next = yes
	}
	p.chains = append(p.chains, code{d, narrow, next})
	return next
}

// condition emits one test.
func (a *assembler) condition(c condition, narrow bool, yes, no label) label {
	if c.op == maskedEqual {
		return a.masked(c, narrow, yes, no)
	}
	var buf [2]span
	return a.within(c.arg, c.spans(buf[:0], narrow), narrow, yes, no)
}

// low and high are where the halves of an argument lie in seccomp_data.
func (a *assembler) low(arg uint8) uint32 {
	if a.big {
		return offArgs + 8*uint32(arg) + 4
	}
	return offArgs + 8*uint32(arg)
}

func (a *assembler) high(arg uint8) uint32 { return a.low(arg) ^ 4 }

// within tests whether an argument lies in one of the spans, which are sorted
// and apart from each other.
func (a *assembler) within(arg uint8, set []span, narrow bool, yes, no label) label {
	if narrow {
		return a.test(a.low(arg), steps(set, yes, no))
	}
	// Most high words decide alone. Where a span begins or ends within one,
	// the low word decides.
	high := []step{{from: 0, to: no}}
	var low []span
	var word uint64 // the high word that low is about
	flush := func() {
		if len(low) > 0 {
			high = append(high, step{from: uint32(word), to: a.test(a.low(arg), steps(low, yes, no))})
			if word < math.MaxUint32 {
				high = append(high, step{from: uint32(word) + 1, to: no})
			}
			low = low[:0]
		}
	}
	part := func(w, lo, hi uint64) {
		if w != word {
			flush()
			word = w
		}
		low = append(low, span{lo, hi})
	}
	for _, s := range set {
		first, last := s.lo>>32, s.hi>>32
		lo, hi := s.lo&math.MaxUint32, s.hi&math.MaxUint32
		if first == last {
			part(first, lo, hi)
			continue
		}
		part(first, lo, math.MaxUint32)
		if first+1 < last {
			flush()
			high = append(high, step{from: uint32(first) + 1, to: yes}, step{from: uint32(last), to: no})
		}
		part(last, 0, hi)
	}
	flush()
	return a.test(a.high(arg), high)
}

// steps turns 32-bit spans into steps.
func steps(set []span, yes, no label) []step {
	s := append(make([]step, 0, 2*len(set)+1), step{from: 0, to: no})
	for _, r := range set {
		s = append(s, step{from: uint32(r.lo), to: yes})
		if r.hi < math.MaxUint32 {
			s = append(s, step{from: uint32(r.hi) + 1, to: no})
		}
	}
	return s
}

// masked tests whether the bits of an argument under a mask have a value.
func (a *assembler) masked(c condition, narrow bool, yes, no label) label {
	next := a.maskedWord(a.low(c.arg), uint32(c.value), uint32(c.masked), yes, no)
	if narrow {
		return next
	}
	return a.maskedWord(a.high(c.arg), uint32(c.value>>32), uint32(c.masked>>32), next, no)
}

func (a *assembler) maskedWord(offset, mask, want uint32, yes, no label) label {
	switch {
	case mask == 0:
		return yes
	case yes == no:
		return yes
	case want == 0:
		return a.load(offset, a.branch(opJset, mask, no, yes))
	}
	return a.load(offset, a.and(mask, a.branch(opJeq, want, yes, no)))
}
