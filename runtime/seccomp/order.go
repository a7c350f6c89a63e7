package seccomp

import (
	"cmp"
	"slices"
)

// alternatives lists what a decision tries, in order. Where all alternatives
// have the same action the profile's order is as good as any. Otherwise it is
// that of libseccomp's tree, which begins with the last argument and, on one
// argument, with the comparison that holds for the fewest values.
func (p *profile) alternatives(d uint16, narrow bool) []*alternative {
	var alts []*alternative
	same := true
	for at := d; at != 0; at = p.decided[at].prev {
		alt := &p.alts[p.decided[at].alt]
		same = same && (len(alts) == 0 || alt.ret == alts[0].ret)
		alts = append(alts, alt)
	}
	slices.Reverse(alts)
	if !same {
		slices.SortStableFunc(alts, func(a, b *alternative) int { return a.compare(b, narrow) })
	}
	return alts
}

// compare tells whether an alternative is tried before another.
func (a *alternative) compare(b *alternative, narrow bool) int {
	i, j := 0, 0
	for {
		for i < len(a.conds) && a.conds[i].empty(narrow) {
			i++
		}
		for j < len(b.conds) && b.conds[j].empty(narrow) {
			j++
		}
		if i == len(a.conds) || j == len(b.conds) {
			return cmp.Compare(len(a.conds)-i, len(b.conds)-j)
		}
		if c := a.conds[i].compare(b.conds[j], narrow); c != 0 {
			return c
		}
		i, j = i+1, j+1
	}
}

func (c condition) compare(d condition, narrow bool) int {
	v, w := c.datum(narrow), d.datum(narrow)
	if c.op == less || c.op == lessEqual {
		v, w = w, v
	}
	return cmp.Or(cmp.Compare(d.arg, c.arg), cmp.Compare(d.op.special(), c.op.special()), cmp.Compare(w, v))
}

// datum is the value that the argument is compared with.
func (c condition) datum(narrow bool) uint64 {
	v := c.value
	if c.op == maskedEqual {
		v = c.masked
	}
	if narrow {
		v = uint64(uint32(v))
	}
	return v
}

// special is larger for comparisons tried earlier.
func (o operator) special() int {
	switch o {
	case equal, notEqual, maskedEqual:
		return 2
	case less, lessEqual:
		return 1
	}
	return 0
}
