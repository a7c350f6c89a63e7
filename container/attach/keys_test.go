package attach

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		DefaultKeys:            "\x10\x11",
		"a,b,c":                "abc",
		"ctrl-@,ctrl-[,ctrl-_": "\x00\x1b\x1f",
		"ctrl-A,x":             "\x01x",
	} {
		if got, err := ParseKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{",", "ab", "ctrl-", "ctrl-1", "ctrl-pp", "a,,b", "é", "alt-x"} {
		if got, err := ParseKeys(text); err == nil {
			t.Errorf("%q accepted as %q", text, got)
		}
	}
}

func TestDetector(t *testing.T) {
	for _, c := range []struct {
		keys, typed, out string // | is the border of two reads
		detached         bool
	}{
		{"\x10\x11", "ls\r", "ls\r", false},
		{"\x10\x11", "a\x10\x11b", "a", true},
		{"\x10\x11", "a\x10|\x11", "a", true},
		{"\x10\x11", "\x10|x", "\x10x", false},
		{"\x10\x11", "\x10|\x10|\x11", "\x10", true},
		{"aab", "a|a|a|b", "a", true},
		{"abac", "ababac", "ab", true},
		{"", "\x10\x11", "\x10\x11", false},
	} {
		d := detector{keys: []byte(c.keys)}
		var out []byte
		var detached bool
		for part := range strings.SplitSeq(c.typed, "|") {
			out, detached = d.feed(out, []byte(part))
		}
		if string(out) != c.out || detached != c.detached {
			t.Errorf("keys %q, typed %q: %q %v, want %q %v", c.keys, c.typed, out, detached, c.out, c.detached)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("ctrl-p,ctrl-q")
	f.Add("a,ctrl-\\,b")
	f.Fuzz(func(t *testing.T, s string) {
		keys, err := ParseKeys(s)
		if err == nil && s != "" && len(keys) != strings.Count(s, ",")+1 && s != "," {
			t.Errorf("%q: %d keys", s, len(keys))
		}
	})
}

// However the typed bytes are cut into reads, all that precedes the first
// occurrence of the keys is passed on, and no more.
func FuzzDetector(f *testing.F) {
	f.Add([]byte("\x10\x11"), []byte("abc\x10\x10\x11x"), uint8(2))
	f.Add([]byte("aab"), []byte("aaab"), uint8(1))
	f.Fuzz(func(t *testing.T, keys, typed []byte, cut uint8) {
		d := detector{keys: keys}
		var out []byte
		detached := false
		for p := typed; len(p) > 0 && !detached; {
			n := min(len(p), int(cut)+1)
			out, detached = d.feed(out, p[:n])
			p = p[n:]
		}
		want, found := typed, false
		if at := bytes.Index(typed, keys); at >= 0 && len(keys) > 0 {
			want, found = typed[:at], true
		}
		if !detached {
			out = d.flush(out)
		}
		if detached != found || !bytes.Equal(out, want) {
			t.Errorf("keys %q, typed %q: %q %v, want %q %v", keys, typed, out, detached, want, found)
		}
	})
}
