package reference

import (
	"strings"
	"testing"

	oracle "github.com/distribution/reference"
)

var names = []string{
	"busybox", "busybox:1.36", "library/busybox", "docker.io/busybox", "index.docker.io/a/b", "docker.io/library/a/b",
	"localhost/x", "localhost:5000/x/y:tag", "127.0.0.1:5000/x", "[::1]:5000/x", "[::1]/x", "[::1/x", "::1/x", "Foo/bar",
	"foo/Bar", "foo/bar:Tag", "a..b", "a__b", "a___b", "a._b", "a---b", "-a", "a-", "a/-b", "a//b", "/a", "a/", "",
	"a:", "a:.x", "a:" + strings.Repeat("t", 128), "a:" + strings.Repeat("t", 129), strings.Repeat("a", 247), strings.Repeat("a", 248),
	strings.Repeat("a", 64), strings.Repeat("z", 64), "example.com", "example.com/", "example.com:80/a", "example.com:/a", "example.com:x/a", "exa_mple.com/a",
	"a@sha256:" + strings.Repeat("0", 64), "a:t@sha256:" + strings.Repeat("0", 64), "a@sha256:" + strings.Repeat("0", 63),
	"a@sha256:" + strings.Repeat("A", 64), "a@sha512:" + strings.Repeat("0", 128), "a@md5:" + strings.Repeat("0", 32), "a@", "a@b@c", "a:b:c",
	"sha256:" + strings.Repeat("0", 64), "a b", "a\x00", "ä", "ä.com/x", "../x", "x/../y", "a.b-.c/x", "-a.b/x",
}

// against compares this parser with the one that defines the grammar.
func against(t *testing.T, s string) {
	t.Helper()
	want, wantErr := oracle.ParseNormalizedNamed(s)
	got, err := Parse(s)
	if strings.Contains(s, "sha384:") {
		return // the only registered algorithm that is known to the oracle alone
	}
	if err != nil && wantErr == nil && oracle.Domain(want) == "" {
		return // it takes a bad host for a part of the path, and leaves a name without a registry
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("Parse(%q) = %+v, %v; want %v, %v", s, got, err, want, wantErr)
	}
	if err != nil {
		return
	}
	if got.String() != want.String() || got.Familiar() != oracle.FamiliarString(want) || got.Domain != oracle.Domain(want) || got.Path != oracle.Path(want) {
		t.Fatalf("Parse(%q) = %+v (%s), want %v (%s)", s, got, got.Familiar(), want, oracle.FamiliarString(want))
	}
	if tagged := got.WithDefaultTag().String(); tagged != oracle.TagNameOnly(want).String() {
		t.Fatalf("%q with default tag: %s, want %s", s, tagged, oracle.TagNameOnly(want))
	}
	if again, err := Parse(got.Familiar()); err != nil || again != got {
		// A familiar name that looks like an id, or whose first part reads as a domain, can't be read back.
		if !(len(got.Familiar()) == 64 && isHex(got.Familiar())) && !strings.HasPrefix(got.Familiar(), "localhost") {
			t.Fatalf("%q does not survive its familiar form %q: %+v, %v", s, got.Familiar(), again, err)
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range names {
		against(t, s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range names {
		f.Add(s)
	}
	f.Fuzz(against)
}

// The reason names what was written, not one of its bytes.
func TestReasonsOfBadCharacters(t *testing.T) {
	for name, want := range map[string]string{
		"näme":     `may not have the character 'ä'`,
		"\xff\xfe": `may not have the character '�'`,
		"Name":     "must be lowercase",
	} {
		if _, err := Parse(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
