package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // "" is refused
	}{
		{"/a/b", "/a/b"}, {"a", "a"}, {"//a///b/", "/a/b"}, {"./a/./b", "a/b"}, {"/a b/c:d.scope", "/a b/c:d.scope"},
		{"/...", "/..."}, {"", ""}, {"/", ""}, {"/.", ""}, {"..", ""}, {"/a/../b", ""}, {"/a/..", ""}, {"/a\nb", ""},
		{"a\x00b", ""}, {strings.Repeat("a", 256), ""}, {strings.Repeat("a/", 65), ""}, {strings.Repeat("a/", 4000), ""},
	} {
		p, err := parsePath(c.in)
		got := strings.Join(p.parts, "/")
		if p.absolute {
			got = "/" + got
		}
		if err != nil {
			got = ""
			if _, err := New(c.in, V1); err == nil || !strings.Contains(err.Error(), "linux.cgroupsPath") {
				t.Errorf("New(%q): %v does not name the field", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("parsePath(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestLoadRefusesForeignPaths(t *testing.T) {
	for _, paths := range []map[string]string{
		{"": "/etc"}, {"": "/sys/fs/cgroup"}, {"": "/sys/fs/cgroup/../../etc"}, {"": "relative"},
		{"memory": "/etc/x"}, {"memory": "/sys/fs/cgroup/memory"}, {"memory": "/sys/fs/cgroup/memory/../cpu"},
		{"memory": "/sys/fs/cgroup/../x/y"}, {"bogus": "/sys/fs/cgroup/bogus/x"},
	} {
		if m, err := Load(paths, nil); err == nil {
			t.Errorf("Load(%v) = %v, want an error", paths, m.Paths())
		}
	}
}

func TestOwnGroups(t *testing.T) {
	got := parseOwn("4:memory:/a/b\n2:cpu,cpuacct:/c:d\n1:name=systemd:/\n0::/u\nnonsense\n")
	want := map[string]string{"memory": "/a/b", "cpu": "/c:d", "cpuacct": "/c:d", "name=systemd": "/", "": "/u"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/a/b", "..", "a/../../b", "/\n", "./.", strings.Repeat("x/", 70)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePath(s)
		if err != nil {
			return
		}
		if len(p.parts) == 0 || len(p.parts) > maxDepth {
			t.Fatalf("%q: %d parts", s, len(p.parts))
		}
		for _, part := range p.parts {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\n\x00") {
				t.Fatalf("%q: part %q", s, part)
			}
		}
		if g, err := groupAt("/r", "/r/"+strings.Join(p.parts, "/")); err != nil || g.rel != strings.Join(p.parts, "/") {
			t.Fatalf("%q does not come back: %v %v", s, g, err)
		}
	})
}
