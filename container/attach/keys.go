package attach

import (
	"fmt"
	"strings"
)

// DefaultKeys is the sequence that detaches when none is configured.
const DefaultKeys = "ctrl-p,ctrl-q"

// ParseKeys turns docker's notation of detach keys, such as "ctrl-p,ctrl-q" or
// "a,b,c", into the bytes a terminal sends for them. The empty text is no keys:
// detaching is off. Only ASCII keys can be named.
func ParseKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var keys []byte
	for name := range strings.SplitSeq(s, ",") {
		key, ok := parseKey(name)
		if !ok {
			return nil, fmt.Errorf("detach keys %q: unknown key %q: want a character or ctrl- and one of a-z @ [ \\ ] ^ _", s, name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKey(name string) (byte, bool) {
	if len(name) == 1 && name[0] < 0x80 {
		return name[0], true
	}
	c, ok := strings.CutPrefix(name, "ctrl-")
	if !ok || len(c) != 1 {
		return 0, false
	}
	switch k := c[0]; {
	case k >= 'a' && k <= 'z', k >= 'A' && k <= 'Z':
		return k & 0x1f, true
	case k == '@', k >= '[' && k <= '_':
		return k & 0x1f, true
	}
	return 0, false
}

// A detector finds the detach keys in what is typed. Keys that may be the
// beginning of the sequence are held back until the next one decides.
type detector struct {
	keys []byte
	held int // so many bytes of keys were typed last
}

// feed appends to out what of in is to be passed on, and reports whether the
// sequence is complete. What was typed after it is dropped.
func (d *detector) feed(out, in []byte) ([]byte, bool) {
	if len(d.keys) == 0 {
		return append(out, in...), false
	}
	for _, b := range in {
		for d.held > 0 && b != d.keys[d.held] {
			// Pass on the fewest bytes after which the rest may
			// still begin the sequence.
			n := d.shift()
			out = append(out, d.keys[:n]...)
			d.held -= n
		}
		if b != d.keys[d.held] {
			out = append(out, b)
			continue
		}
		if d.held++; d.held == len(d.keys) {
			d.held = 0
			return out, true
		}
	}
	return out, false
}

// shift is the least number of held bytes to let go of so that those left are
// a beginning of the sequence again.
func (d *detector) shift() int {
	n := 1
	for n < d.held && string(d.keys[n:d.held]) != string(d.keys[:d.held-n]) {
		n++
	}
	return n
}

// flush appends what is held back, when nothing more will be typed.
func (d *detector) flush(out []byte) []byte {
	out = append(out, d.keys[:d.held]...)
	d.held = 0
	return out
}
