package network

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestAppendName(t *testing.T) {
	for name, want := range map[string]string{
		"web": "web", "Web.MyNet": "web.mynet", "a_b-c.d.": "a_b-c.d", "0": "0", strings.Repeat("a", 63): strings.Repeat("a", 63),
	} {
		if got, err := AppendName(nil, name); err != nil || string(got) != want {
			t.Errorf("%q: %q %v", name, got, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "a..b", ".a", "a/b", "../a", "a/../b", "a\x00b", "a b", "ä", "a\n", "*", "a..",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "aa",
	} {
		if got, err := AppendName([]byte("x/"), name); err == nil || string(got) != "x/" {
			t.Errorf("%q became %q", name, got)
		}
	}
}

func FuzzAppendName(f *testing.F) {
	f.Add("web.mynet")
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := AppendName(nil, name)
		if err == nil && (len(got) == 0 || filepath.Base(string(got)) != string(got) || !filepath.IsLocal(string(got))) {
			t.Errorf("%q became %q", name, got)
		}
	})
}
