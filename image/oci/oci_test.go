package oci

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const (
	zeros  = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	config = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + zeros + `","size":2}`
)

func TestDigest(t *testing.T) {
	d := FromBytes([]byte("x"))
	if again, err := Parse(d.String()); err != nil || again != d {
		t.Errorf("%s does not survive: %s, %v", d, again, err)
	}
	h := d.Hash()
	h.Write([]byte("x"))
	if err := d.Verify(h); err != nil {
		t.Error(err)
	}
	h.Write([]byte("y"))
	if err := d.Verify(h); err == nil {
		t.Error("wrong content passes")
	}
	long := "sha512:" + strings.Repeat("ab", 64)
	if d, err := Parse(long); err != nil || d.String() != long || d.Hex() != long[7:] {
		t.Errorf("%s: %s, %v", long, d, err)
	}
	for _, bad := range []string{
		"", "sha256", "sha256:", ":", zeros[:70], zeros + "0", "sha512:" + zeros[7:], "SHA256:" + zeros[7:], "md5:" + strings.Repeat("0", 32),
		"sha256:" + strings.Repeat("0", 63) + "A", "sha256:" + strings.Repeat("0", 63) + "/", "sha256:../" + strings.Repeat("0", 61), "sha256:" + strings.Repeat("0", 63) + "\n", " " + zeros,
	} {
		if d, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) = %s", bad, d)
		}
	}
	var in struct{ A, B Digest }
	if err := json.Unmarshal([]byte(`{"A":"`+zeros+`","B":""}`), &in); err != nil || in.A.String() != zeros || !in.B.IsZero() {
		t.Errorf("%+v, %v", in, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"../../etc"}`), &in); err == nil {
		t.Error("a path decodes as a digest")
	}
}

func TestParseDocument(t *testing.T) {
	manifest := `{"schemaVersion":2,` + config + `,"layers":[]}`
	index := `{"schemaVersion":2,"manifests":[]}`
	typed := func(body, mediaType string) string { return `{"mediaType":"` + mediaType + `",` + body[1:] }
	for _, test := range []struct {
		name, body, mediaType string
		want                  string // media type, or ! and words of the error
	}{
		{"plain manifest", manifest, TypeManifest, TypeManifest},
		{"plain index", index, TypeIndex, TypeIndex},
		{"docker", typed(manifest, TypeDockerManifest), TypeDockerManifest + "; charset=utf-8", TypeDockerManifest},
		{"docker list", typed(index, TypeDockerIndex), TypeDockerIndex, TypeDockerIndex},
		{"generic type, body decides", typed(manifest, TypeDockerManifest), "application/json", TypeDockerManifest},
		{"no type at all", manifest, "", TypeManifest},
		{"no type at all, index", index, "", TypeIndex},
		{"body contradicts header", typed(manifest, TypeManifest), TypeDockerManifest, "!calls itself"},
		{"index sent as manifest", index, TypeManifest, "!body is something else"},
		{"manifest sent as index", manifest, TypeIndex, "!body is something else"},
		{"index called manifest by itself", typed(index, TypeManifest), "", "!body is something else"},
		{"both (CVE-2021-41190)", `{"schemaVersion":2,"manifests":[],` + config + `,"layers":[]}`, TypeManifest, "!ambiguous"},
		{"both, by other letters", `{"schemaVersion":2,"Manifests":[],` + config + `,"layers":[]}`, TypeManifest, "!ambiguous"},
		{"neither", `{"schemaVersion":2}`, TypeManifest, "!ambiguous"},
		{"two of one field", `{"schemaVersion":2,` + config + `,"layers":[],"layers":[]}`, TypeManifest, "!twice"},
		{"two of one field by other letters", `{"schemaVersion":2,` + config + `,"layers":[],"Layers":[]}`, TypeManifest, "!twice"},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, "", "!schema 1"},
		{"schema 1 signed", `{"schemaVersion":1,"fsLayers":[]}`, typeDockerSigned1, "!schema 1"},
		{"schema 3", `{"schemaVersion":3,"manifests":[]}`, "", "!version 3"},
		{"artifact type", typed(manifest, "application/x"), "", "!neither"},
		{"list", `[]`, "", "!object"},
		{"text", `hello`, "", "!decode"},
		{"trailing", manifest + "{}", "", "!decode"},
		{"bad digest", strings.Replace(manifest, zeros, "sha256:../../x", 1), "", "!digest"},
		{"no digest", strings.Replace(manifest, zeros, "", 1), "", "!digest"},
		{"negative size", strings.Replace(manifest, `"size":2`, `"size":-2`, 1), "", "!size"},
		{"many layers", `{"schemaVersion":2,` + config + `,"layers":[` + strings.Repeat(`{"digest":"`+zeros+`"},`, 500) + `{"digest":"` + zeros + `"}]}`, "", "!more than"},
		{"large", manifest + strings.Repeat(" ", MaxManifest), "", "!larger"},
	} {
		doc, err := ParseDocument([]byte(test.body), test.mediaType)
		words, bad := strings.CutPrefix(test.want, "!")
		switch {
		case bad && (err == nil || !strings.Contains(err.Error(), words)):
			t.Errorf("%s: error %v, want one with %q", test.name, err, words)
		case !bad && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case !bad && (doc.MediaType != test.want || (doc.Index == nil) == (doc.Manifest == nil)):
			t.Errorf("%s: %+v", test.name, doc)
		}
	}
}

func TestParseImage(t *testing.T) {
	one := &Manifest{Layers: make([]Descriptor, 1)}
	good := `{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","config":{"Env":["A=*"],"Cmd":null},"rootfs":{"type":"layers","diff_ids":["` + zeros + `"]}}`
	img, err := ParseImage([]byte(good), one)
	if err != nil || img.Architecture != "amd64" || img.Config.Env[0] != "A=*" || img.Created.Year() != 2024 {
		t.Errorf("%+v, %v", img, err)
	}
	for name, body := range map[string]string{
		"two layers": strings.Replace(good, `diff_ids":["`, `diff_ids":["`+zeros+`","`, 1), "no type": strings.Replace(good, `"type":"layers",`, "", 1),
		"empty id": strings.Replace(good, zeros, "", 1), "not json": "x", "large": good + strings.Repeat(" ", MaxConfig),
	} {
		if img, err := ParseImage([]byte(body), one); err == nil {
			t.Errorf("%s passes: %+v", name, img)
		}
	}
}

func TestPlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64": "linux/amd64", "amd64": "linux/amd64", "x86_64": "linux/amd64", "linux/aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64",
		"linux/arm": "linux/arm/v7", "linux/arm/6": "linux/arm/v6", "": Host().String(), "a/b/c/d": "", "linux/": "", "linux/a b": "", "windows/amd64": "windows/amd64", "linux": Host().String(),
	} {
		if p, err := ParsePlatform(s); (err == nil) != (want != "") || err == nil && p.String() != want {
			t.Errorf("ParsePlatform(%q) = %s, %v; want %s", s, p, err, want)
		}
	}
	index := func(names ...string) *Index {
		x := &Index{}
		for i, n := range names {
			d := Descriptor{Size: int64(i)}
			if n != "" {
				p := strings.Split(n+"//", "/")
				d.Platform = &Platform{OS: p[0], Architecture: p[1], Variant: p[2]}
			}
			x.Manifests = append(x.Manifests, d)
		}
		return x
	}
	for _, test := range []struct {
		want    string
		offered []string
		pick    int64 // -1: none
	}{
		{"linux/amd64", []string{"windows/amd64", "linux/arm64", "linux/amd64", "unknown/unknown"}, 2},
		{"linux/amd64", []string{"linux/amd64/v3", "linux/amd64", "linux/amd64/v1"}, 1},
		{"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v4", "linux/amd64/v2"}, 2},
		{"linux/amd64", []string{"linux/amd64/v3"}, -1},
		{"linux/arm64", []string{"linux/arm/v7", "linux/arm64/v8"}, 1},
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"}, 1},
		{"linux/arm/v6", []string{"linux/arm/v7"}, -1},
		{"linux/amd64", []string{""}, 0},
		{"linux/amd64", []string{"", ""}, -1},
		{"linux/amd64", nil, -1},
	} {
		p, err := ParsePlatform(test.want)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := index(test.offered...).Select(p)
		if ok != (test.pick >= 0) || ok && d.Size != test.pick {
			t.Errorf("%s of %v: picked %d, %t; want %d", test.want, test.offered, d.Size, ok, test.pick)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(`{"schemaVersion":2,%s,"layers":[]}`, config)), TypeManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`), TypeIndex)
	f.Fuzz(func(t *testing.T, body []byte, mediaType string) {
		doc, err := ParseDocument(body, mediaType)
		if err == nil && (doc.Index == nil) == (doc.Manifest == nil) {
			t.Errorf("%q is neither or both", body)
		}
		DecodeImage(body)
	})
}

// Digests are ordered as their text is, and those that are none are not taken.
func TestDigestCompare(t *testing.T) {
	var all []Digest
	for i := range 50 {
		all = append(all, FromBytes([]byte{byte(i)}), FromHash(SHA512, SHA512.New()))
	}
	all = append(all, Digest{})
	for _, a := range all {
		for _, b := range all {
			if got, want := a.Compare(b), strings.Compare(a.Hex(), b.Hex()); got != want {
				t.Errorf("%s, %s: %d instead of %d", a, b, got, want)
			}
		}
		if got, ok := ParseBytes([]byte(a.String())); ok == a.IsZero() || got != a {
			t.Errorf("%q: %v, %v", a, got, ok)
		}
	}
	for _, bad := range []string{"sha256", "sha256:", "sha1:" + all[0].Hex(), "sha512:" + all[0].Hex(), "sha256:" + strings.ToUpper(all[2].Hex()), all[0].String() + "0", "sha256:g" + all[0].Hex()[1:], " " + all[0].String()} {
		if d, ok := ParseBytes([]byte(bad)); ok || d != (Digest{}) {
			t.Errorf("%q is read as %s", bad, d)
		}
		if d, err := Parse(bad); err == nil || d != (Digest{}) {
			t.Errorf("%q is read as %s", bad, d)
		}
	}
}
