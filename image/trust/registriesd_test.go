package trust

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"
)

// What is read is what a YAML library reads; what it has more is refused.
func TestYAMLAgainstLibrary(t *testing.T) {
	for text, good := range map[string]bool{
		"":                            true,
		"# only a comment\n":          true,
		"---\na: b\n":                 true,
		"a: b\nc: d\n":                true,
		"a:\n  b: c\n  d: e\nf: g\n":  true,
		"a:\n    b:\n        c: d\n":  true,
		"a: b # comment\n":            true,
		"a: b#c\n":                    true,
		"a: 'it''s'\nb: \"q\\\"x\"\n": true,
		"'a b': c\n\"d\": e\n":        true,
		"a:\n":                        true,
		"a: ''\n":                     true,
		"a.example:5000/x:tag:\n  b: file:///x\n": true,
		"a: https://x.example:80/y?z\r\n":         true,
		"a: {}\n":                                 true,
		"a: b\n\n\n  # far\nc: d\n":               true,
		"a: b\na: c\n":                            false,
		"a:\n  - b\n":                             false,
		"a: [b]\n":                                false,
		"a: {b: c}\n":                             false,
		"a: &x b\nc: *x\n":                        false,
		"a: |\n  text\n":                          false,
		"a: >\n  text\n":                          false,
		"a: b\n  c: d\n":                          false,
		"a\n":                                     false,
		"a:\n  b: c\n d: e\n":                     false,
		"a: b\n--- \nc: d\n":                      false,
		"a: !!str b\n":                            false,
		"? a\n: b\n":                              false,
		"a:\tb: c\n":                              false,
		"\ta: b\n":                                false,
		"a: 'b\n":                                 false,
		"a: \"b\" c\n":                            false,
		"a: b: c\n":                               false,
		"%TAG x\n":                                false,
	} {
		got, err := parseYAML(text)
		if (err == nil) != good {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if !good {
			continue
		}
		var want map[string]any
		if err := yaml.Unmarshal([]byte(text), &want); err != nil {
			t.Errorf("%q: the library: %v", text, err)
			continue
		}
		if !reflect.DeepEqual(plain(map[string]any(asMap(got))), plain(want)) {
			t.Errorf("%q: %v, the library reads %v", text, got, want)
		}
	}
}

func asMap(m yamlMap) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		if sub, ok := v.(yamlMap); ok {
			out[k] = asMap(sub)
		} else {
			out[k] = v
		}
	}
	return out
}

// plain makes texts of what a library gives types, and nothing of empty maps.
func plain(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case map[string]any:
		if len(v) == 0 {
			return nil
		}
		out := map[string]any{}
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	}
	return fmt.Sprint(v)
}

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	img := dockerImage(t, "r.example/a/b:v1")
	get := func() Places {
		t.Helper()
		p, err := loadPlaces(dir, img.scopes())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := get(); !strings.HasPrefix(p.Lookaside, "file:///") || !p.Attachments {
		t.Errorf("without files: %+v", p)
	}
	write("default.yaml", "default-docker:\n  sigstore: file:///old\n  sigstore-staging: file:///staging\n")
	if p := get(); p != (Places{"file:///old", "file:///staging", true}) {
		t.Errorf("default: %+v", p)
	}
	write("r.yaml", "docker:\n  r.example:\n    lookaside: https://r.example/sigs\n    use-sigstore-attachments: false\n  \"other.example\": {}\n")
	if p := get(); p != (Places{"https://r.example/sigs", "", false}) {
		t.Errorf("by host: %+v", p)
	}
	write("b.yaml", `{"docker":{"r.example/a/b:v1":{"use-sigstore-attachments":true}}}`)
	if p := get(); p != (Places{"", "", true}) {
		t.Errorf("by name: %+v", p)
	}
	write("ignored.txt", "\x00")
	get()
	for name, text := range map[string]string{
		"doubled":      "docker:\n  r.example:\n    lookaside: file:///x\n",
		"two defaults": "default-docker:\n  lookaside: file:///x\n",
		"no address":   "docker:\n  z.example:\n    lookaside: /x\n",
		"another way":  "docker:\n  z.example:\n    lookaside: ftp://x/y\n",
		"no truth":     "docker:\n  z.example:\n    use-sigstore-attachments: maybe\n",
		"no mapping":   "docker: x\n",
	} {
		write("zz.yaml", text)
		if _, err := loadPlaces(dir, img.scopes()); err == nil || !strings.Contains(err.Error(), "zz.yaml") {
			t.Errorf("%s: %v", name, err)
		}
	}
	os.Remove(filepath.Join(dir, "zz.yaml"))
	write("open.yaml", "docker:\n")
	os.Chmod(filepath.Join(dir, "open.yaml"), 0o666)
	if _, err := loadPlaces(dir, img.scopes()); err == nil {
		t.Error("a file that everybody may write")
	}
}

// Simple signatures come from a web server, too, one after the other.
func TestLookasideOverHTTP(t *testing.T) {
	d := digestOf("manifest")
	var asked []string
	endless := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		switch {
		case strings.HasSuffix(r.URL.Path, "/signature-1"), strings.HasSuffix(r.URL.Path, "/signature-2"), endless:
			fmt.Fprint(w, "signature ", len(asked))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	list, err := lookaside(t.Context(), server.URL+"/sigs/", "a/b", d)
	if err != nil || len(list) != 2 || string(list[1].Body) != "signature 2" || list[0].Of != d || list[0].Form != Simple {
		t.Errorf("%v, %v", list, err)
	}
	if want := "/sigs/a/b@sha256=" + d.Hex() + "/signature-1"; asked[0] != want {
		t.Errorf("asked for %s, want %s", asked[0], want)
	}
	endless = true
	if list, err := lookaside(t.Context(), server.URL, "a/b", d); err != nil || len(list) != maxSignatures {
		t.Errorf("%d signatures, %v", len(list), err)
	}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, maxSignature+1))
	})
	if _, err := lookaside(t.Context(), server.URL, "a/b", d); err == nil {
		t.Error("a signature that is too large")
	}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	if _, err := lookaside(t.Context(), server.URL, "a/b", d); err == nil {
		t.Error("a server that fails has no signatures")
	}
}
