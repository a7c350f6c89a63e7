package tree

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Difference is an entry that is not what its record says.
type Difference struct {
	Path string
	// What is "missing", "not recorded", or the properties that differ, as in
	// "size 0, recorded 1234".
	What string
}

// ErrRecord is matched by errors about a record that is none.
var ErrRecord = errors.New("not a record of a tree")

// Diff compares the record of a tree as it is with the one that was made of it
// before, and calls found for each difference until that returns false.
func Diff(was, is io.Reader, found func(Difference) bool) error {
	a, b := newLines(was), newLines(is)
	for {
		if a.err != nil || b.err != nil {
			return errors.Join(a.err, b.err)
		}
		if a.path == "" && b.path == "" {
			return nil
		}
		var d Difference
		order := compare(a.path, b.path)
		switch {
		case order < 0:
			d = Difference{a.path, "missing"}
		case order > 0:
			d = Difference{b.path, "not recorded"}
		case a.rest != b.rest:
			d = Difference{a.path, what(a.rest, b.rest)}
		}
		if d.What != "" && !found(d) {
			return nil
		}
		if order <= 0 {
			a.next()
		}
		if order >= 0 {
			b.next()
		}
	}
}

// compare orders paths as they are walked; the end of a record comes last.
func compare(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x == '/' || y != '/' && x < y {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// lines reads a record. At its end the path is "".
type lines struct {
	in         *bufio.Reader
	path, rest string
	err        error
}

func newLines(r io.Reader) *lines {
	l := &lines{in: bufio.NewReaderSize(r, 64<<10)}
	l.next()
	return l
}

func (l *lines) next() {
	last := l.path
	l.path, l.rest = "", ""
	text, err := l.in.ReadString('\n')
	if err == io.EOF && text == "" {
		return
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: it is cut off", ErrRecord)
	}
	if err != nil {
		l.err = err
		return
	}
	quoted, err := strconv.QuotedPrefix(text)
	if err == nil {
		l.path, err = strconv.Unquote(quoted)
	}
	if err != nil || l.path == "" || last != "" && compare(last, l.path) >= 0 {
		l.err = fmt.Errorf("%w: line %.100q", ErrRecord, text)
		return
	}
	l.rest = strings.TrimSpace(text[len(quoted):])
}

// what tells the properties that differ.
func what(was, is string) string {
	old, now := properties(was), properties(is)
	var said []string
	for _, p := range []struct{ key, name string }{
		{"mode", "mode"}, {"uid", "owner"}, {"gid", "group"}, {"s", "size"}, {"c", "contents"},
		{"l", "target"}, {"d", "device"}, {"x", "extended attributes"}, {"t", "time"},
	} {
		a, b := old[p.key], now[p.key]
		switch {
		case a == b:
		case p.key == "c" || p.key == "x":
			said = append(said, p.name+" differ")
		case p.key == "t" && len(said) > 0: // whatever was done changed it
		case a == "" || b == "": // of another type, which the mode tells
		default:
			said = append(said, fmt.Sprintf("%s %s, recorded %s", p.name, b, a))
		}
	}
	if said == nil {
		return "differs"
	}
	return strings.Join(said, "; ")
}

func properties(text string) map[string]string {
	m := map[string]string{}
	for _, key := range []string{"mode", "uid", "gid"} {
		m[key], text, _ = strings.Cut(text, " ")
	}
	for text != "" {
		key, rest, _ := strings.Cut(text, "=")
		value, err := strconv.QuotedPrefix(rest)
		if err != nil {
			value, _, _ = strings.Cut(rest, " ")
		}
		m[key] = value
		text = strings.TrimSpace(rest[len(value):])
	}
	return m
}
