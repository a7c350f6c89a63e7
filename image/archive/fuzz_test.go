package archive

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"loper.run/image/oci"
)

// use opens all that an archive names.
func use(t *testing.T, a *Archive) {
	for _, img := range a.Images {
		body, err := a.Small(img.Target, oci.MaxManifest)
		if err != nil {
			continue
		}
		if oci.FromBytes(body) != img.Target.Digest && img.Target.Digest.Algorithm() == oci.SHA256 {
			t.Errorf("%s has other content", img.Target.Digest)
		}
		doc, err := oci.ParseDocument(body, img.Target.MediaType)
		if err != nil || doc.Manifest == nil {
			continue
		}
		for _, d := range append(doc.Manifest.Layers, doc.Manifest.Config) {
			if c, err := a.Open(d); err == nil {
				if c.File != nil {
					if st, err := c.File.Stat(); err != nil || c.Offset < 0 || c.Offset+c.Size > st.Size() {
						t.Errorf("%s reaches beyond the archive", d.Digest)
					}
				}
				c.Close()
			}
		}
	}
}

// Whatever a file holds, it is read or refused, and nothing beyond it is.
func FuzzRead(f *testing.F) {
	layer := "first"
	f.Add(makeTar(f, member{name: "l", body: layer}, member{name: "m", link: "l"}, member{name: "c", body: config(layer)}, member{name: "manifest.json", body: list(dockerEntry{Config: "c", RepoTags: []string{"x"}, Layers: []string{"m"}})}))
	f.Add([]byte(gz(string(makeTar(f, member{name: "oci-layout", body: layoutVersion}, member{name: "index.json", body: `{"schemaVersion":2,"manifests":[]}`})))))
	f.Add([]byte("BZh9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := read(t, data); err == nil {
			use(t, a)
		}
	})
}

// The lists of an archive, one by one.
func FuzzLists(f *testing.F) {
	f.Add(list(dockerEntry{Config: "c", RepoTags: []string{"x"}, Layers: []string{"l"}}), `{"schemaVersion":2,"manifests":[]}`, layoutVersion, "Directory Transport Version: 1.1\n")
	f.Add(`{"schemaVersion":2,"config":{"digest":"sha256:"},"layers":[]}`, "", "", "")
	f.Fuzz(func(t *testing.T, manifest, index, layout, version string) {
		dir := t.TempDir()
		for name, body := range map[string]string{"manifest.json": manifest, "index.json": index, "oci-layout": layout, "version": version, "l": "first", "c": config("first")} {
			if body != "" {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		a, err := ReadDir(t.Context(), dir)
		if err != nil {
			return
		}
		defer a.Close()
		use(t, a)
		if _, err := json.Marshal(a.Images); err != nil {
			t.Error(err)
		}
	})
}
