package store

// Span is the bytes from From up to To, which is not one of them.
type Span struct{ From, To int64 }

// Len is the number of bytes.
func (s Span) Len() int64 { return s.To - s.From }

// spans are in order, and neither touch nor overlap.
type spans []Span

func (l spans) size() (n int64) {
	for _, s := range l {
		n += s.Len()
	}
	return n
}

func (l spans) front() int64 {
	if len(l) == 0 || l[0].From > 0 {
		return 0
	}
	return l[0].To
}

// missing is what lacks of the first size bytes.
func (l spans) missing(size int64) spans { return l.within(0, size) }

// within is what lacks of the bytes between from and to.
func (l spans) within(from, to int64) spans {
	var gaps spans
	for _, s := range l {
		if s.To <= from {
			continue
		}
		if s.From >= to {
			break
		}
		if s.From > from {
			gaps = append(gaps, Span{from, s.From})
		}
		from = s.To
	}
	if from < to {
		gaps = append(gaps, Span{from, to})
	}
	return gaps
}

// add puts a span in; what it touches becomes one with it.
func (l spans) add(n Span) spans {
	if n.Len() <= 0 {
		return l
	}
	i := 0
	for i < len(l) && l[i].To < n.From {
		i++
	}
	j := i
	for j < len(l) && l[j].From <= n.To {
		n.From, n.To = min(n.From, l[j].From), max(n.To, l[j].To)
		j++
	}
	if j == i+1 { // the usual case: one that grows
		l[i] = n
		return l
	}
	out := make(spans, 0, len(l)+1)
	out = append(append(out, l[:i]...), n)
	return append(out, l[j:]...)
}

// clip drops what lies beyond size, or makes no sense.
func (l spans) clip(size int64) spans {
	var out spans
	for _, s := range l {
		if s.From >= 0 && s.To <= size {
			out = out.add(s)
		} else if s.From >= 0 && s.From < size && s.To > size {
			out = out.add(Span{s.From, size})
		}
	}
	return out
}
