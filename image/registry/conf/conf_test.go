package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes files and returns their directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const mainFile = `unqualified-search-registries = ["a.example", "b.example:5000/"]

[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"

[[registry.mirror]]
location = "mirror-0.example/mirror-for-foo"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "mirror-1.example/mirrors/foo"
insecure = true
pull-from-mirror = "tag-only"

[[registry]]
location = "registry.com"
mirror-by-digest-only = true
some-later-invention = { x = 1 }
  [[registry.mirror]]
  location = "mirror.registry.com"
[[registry]]
prefix = "*.wild.example"
blocked = true
[[registry]]
prefix = "*.deep.wild.example"
location = "other.example"

[aliases]
"one" = "x.example/one"
"two" = "x.example/two"
`

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"main": mainFile,
		"a.d/10.conf": `short-name-mode = "enforcing"
[aliases]
"one" = ""
"two" = "y.example/two"
"fresh/er" = "z.example/fresh/er"
`,
		"a.d/20.conf":         "[[registry]]\nlocation = 'registry.com'\ninsecure = true\n",
		"a.d/README":          "= no TOML",
		"a.d/30.conf/x.conf":  "= no TOML",
		"b.d/05.conf":         "unqualified-search-registries = []\ncredential-helpers = ['containers-auth.json', 'secret']",
		"short-name-aliases":  "[aliases]\n\"two\" = \"chosen.example/two\"\n",
		"not-a-directory.txt": "",
	})
	p := func(name string) string { return filepath.Join(dir, name) }
	got, err := Load(Paths{Main: p("main"), Dirs: []string{p("a.d"), p("b.d"), p("missing.d")}, Aliases: p("short-name-aliases")})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Registries: []Registry{
			{Prefix: "example.com/foo", Endpoint: Endpoint{Location: "internal.example.net/bar"}, File: p("main"), Line: 3, Mirrors: []Mirror{
				{Endpoint{Location: "mirror-0.example/mirror-for-foo"}, DigestOnly, 7},
				{Endpoint{"mirror-1.example/mirrors/foo", true}, TagOnly, 10},
			}},
			{Prefix: "registry.com", Endpoint: Endpoint{"registry.com", true}, File: p("a.d/20.conf"), Line: 1},
			{Prefix: "*.wild.example", Blocked: true, File: p("main"), Line: 21},
			{Prefix: "*.deep.wild.example", Endpoint: Endpoint{Location: "other.example"}, File: p("main"), Line: 24},
		},
		Search: []string{}, SearchFrom: p("b.d/05.conf"), Mode: Enforcing,
		Helpers: []string{"containers-auth.json", "secret"}, HelpersFrom: p("b.d/05.conf"),
		Aliases: map[string]Alias{"two": {"chosen.example/two", p("short-name-aliases")}, "fresh/er": {"z.example/fresh/er", p("a.d/10.conf")}},
		Files:   []string{p("main"), p("a.d/10.conf"), p("a.d/20.conf"), p("b.d/05.conf"), p("short-name-aliases")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFind(t *testing.T) {
	c, err := decode([]byte(mainFile), "f", true)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"example.com/foo/image:latest":      "internal.example.net/bar/image:latest",
		"example.com/foo:tag":               "internal.example.net/bar:tag",
		"example.com/foobar/image":          "",
		"example.com/bar":                   "",
		"registry.com/image@sha256:0":       "registry.com/image@sha256:0",
		"registry.com:5000/image":           "registry.com:5000/image", // as with Podman, which promises to mend it
		"registry.common/image":             "",
		"a.deep.wild.example/x:1":           "other.example/x:1",
		"a.b.deep.wild.example:80/x:1":      "other.example:80/x:1",
		"wild.example/x":                    "",
		"other.example/a.deep.wild.example": "",
		"deep.wild.example/x":               "deep.wild.example/x", // of the shorter wildcard
	} {
		got := ""
		if r := c.Find(name); r != nil {
			got = r.Rewrite(name, r.Prefix)
		}
		if got != want {
			t.Errorf("%s leads to %q, want %q", name, got, want)
		}
	}
}

func TestPullMirrors(t *testing.T) {
	c, err := decode([]byte(mainFile), "f", true)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{
		"example.com/foo/x": {"mirror-1.example/mirrors/foo", "mirror-0.example/mirror-for-foo"},
		"registry.com/x":    {"", "mirror.registry.com"},
	} {
		for i, byDigest := range []bool{false, true} {
			got := ""
			for _, m := range c.Find(name).PullMirrors(byDigest) {
				got += m.Location
			}
			if got != want[i] {
				t.Errorf("%s by digest %t: mirrors %q, want %q", name, byDigest, got, want[i])
			}
		}
	}
}

func TestOldFormat(t *testing.T) {
	const old = "[registries.search]\nregistries = ['a.example']\n[registries.insecure]\nregistries = ['b.example']\n[registries.block]\nregistries = ['b.example', 'c.example']\n"
	c, err := decode([]byte(old), "f", true)
	if err != nil {
		t.Fatal(err)
	}
	want := []Registry{
		{Prefix: "b.example", Endpoint: Endpoint{"b.example", true}, Blocked: true, File: "f"},
		{Prefix: "c.example", Endpoint: Endpoint{Location: "c.example"}, Blocked: true, File: "f"},
	}
	if diff := cmp.Diff(want, c.Registries); diff != "" || c.SearchFrom != "f" || c.Search[0] != "a.example" {
		t.Error(c.Search, diff)
	}
	if _, err := decode([]byte(old), "f", false); err == nil {
		t.Error("the old format is taken from a drop-in")
	}
}

var bad = map[string]string{
	"[[registry]]\nprefix = 'a.example'\n":                                                                               "f, line 1: prefix \"a.example\" needs a location",
	"\n[[registry]]\ninsecure = true\n":                                                                                  "f, line 2: a [[registry]] needs a prefix or a location",
	"[[registry]]\nlocation = 'https://a.example'\n":                                                                     "leave https:// and http:// out",
	"[[registry]]\nprefix = 'a.*.example'\nlocation = 'b.example'\n":                                                     "only be the first part",
	"[[registry]]\nprefix = '*.example/foo'\n":                                                                           "stands before a whole domain",
	"[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\ninsecure = true\n":                                       "has no location",
	"[[registry]]\nlocation = \"a.example\\n\"\n":                                                                        "characters that no registry's name has",
	"[[registry]]\nlocation = 'a.example'\n[[registry]]\nprefix = 'b.example'\nlocation = 'a.example'\nblocked = true\n": "several times",
	"[[registry]]\nlocation = 'a.example'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'b.example'\npull-from-mirror = 'all'\n": "contradict each other",
	"[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = 'b.example'\npull-from-mirror = 'never'\n":                             "write all, digest-only or tag-only",
	"short-name-mode = 'strict'":                     "write enforcing, permissive or disabled",
	"unqualified-search-registries = ['registry']\n": "is no registry",
	"[aliases]\n'a:1' = 'b.example/a'\n":             "no short name",
	"[aliases]\n'b.example/a' = 'b.example/a'\n":     "no short name",
	"[aliases]\n'a' = 'a'\n":                         "write the full name",
	"[aliases]\n'a' = 'b.example/a:1'\n":             "write the full name",
	"a = \n":                                         "f, line 1",
	"[[registry]]\nlocation = 1\n":                   "f, line 2",
	"[registries.search]\nregistries = ['a.example']\n[[registry]]\nlocation = 'b.example'\n": "can't be in one file",
}

func TestBad(t *testing.T) {
	for text, want := range bad {
		_, err := decode([]byte(text), "f", true)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(mainFile, "example.com/foo/x")
	for text := range bad {
		f.Add(text, "a.example/x")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		c, err := decode([]byte(text), "f", true)
		if err != nil {
			return
		}
		c.Candidates(name)
		if r := c.Find(name); r != nil {
			r.Rewrite(name, r.Prefix)
			for _, m := range r.PullMirrors(true) {
				m.Rewrite(name, r.Prefix)
			}
		}
	})
}

func TestCandidates(t *testing.T) {
	c, err := decode([]byte(mainFile), "f", true)
	if err != nil {
		t.Fatal(err)
	}
	none := new(Config)
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, want := range map[string]string{
		"one:1":            "alias x.example/one:1",
		"two" + digest:     "alias x.example/two" + digest,
		"three":            "search a.example/three, search b.example:5000/three",
		"a/b:c":            "search a.example/a/b:c, search b.example:5000/a/b:c",
		"docker.io/one":    "default docker.io/library/one",
		"localhost/one":    "default localhost/one",
		"localhost:80/one": "default localhost:80/one",
		"Caps/one":         "default Caps/one",
	} {
		if got := words(t, c, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := words(t, none, "one:1"); got != "default docker.io/library/one:1" {
		t.Error(got)
	}
	if _, err := c.Candidates("a..b"); err == nil {
		t.Error("a bad name has candidates")
	}
}

func words(t *testing.T, c *Config, name string) string {
	t.Helper()
	all, err := c.Candidates(name)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, x := range all {
		s = append(s, x.What+" "+x.Ref.String())
	}
	return strings.Join(s, ", ")
}

func TestDefaultPaths(t *testing.T) {
	own := write(t, map[string]string{"containers/registries.conf.d/x.conf": ""})
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	t.Setenv("REGISTRIES_CONFIG_PATH", "")
	t.Setenv("XDG_CONFIG_HOME", own)
	t.Setenv("XDG_CACHE_HOME", own)
	mine := filepath.Join(own, "containers/registries.conf")
	want := Paths{Main: systemFile, Dirs: []string{systemFile + ".d", mine + ".d"}, Aliases: aliasFile()}
	if diff := cmp.Diff(want, DefaultPaths()); diff != "" {
		t.Error("without own file:", diff)
	}
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want.Main, want.Dirs = mine, []string{mine + ".d"}
	if diff := cmp.Diff(want, DefaultPaths()); diff != "" {
		t.Error("with own file:", diff)
	}
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "/x")
	want.Main, want.Must, want.Dirs = "/x", true, []string{systemFile + ".d", mine + ".d"}
	if diff := cmp.Diff(want, DefaultPaths()); diff != "" {
		t.Error("with a variable:", diff)
	}
	if _, err := Load(Paths{Main: filepath.Join(own, "missing"), Must: true}); err == nil {
		t.Error("a file that is asked for may be missing")
	}
	if _, err := Load(Paths{Main: filepath.Join(own, "missing")}); err != nil {
		t.Error(err)
	}
}

// A large file is read in a time that grows with its size alone.
func TestLargeFile(t *testing.T) {
	text := strings.Repeat("[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\nlocation = 'b.test'\n", 10_000)
	begin := time.Now()
	c, err := decode([]byte(text), "f", true)
	if err != nil || c.Registries[9_999].Line != 39_997 || c.Registries[9_999].Mirrors[0].Line != 39_999 {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}
