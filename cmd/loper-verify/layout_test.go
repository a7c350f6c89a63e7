package main

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"loper.run/cmd/loper-verify/keyless"
	"loper.run/test/env"
)

// layout is an OCI image layout of everything in some repositories. The names in its index are REPOSITORY:TAG.
type layout struct {
	index []map[string]any
	blobs map[string][]byte // by digest
}

func newLayout() *layout { return &layout{blobs: map[string][]byte{}} }

// manifest is what the tests look at of manifests and indexes.
type manifest struct {
	Manifests []struct{ Digest string }
	Config    struct{ Digest string }
	Layers    []struct {
		Digest      string
		Annotations map[string]string
	}
}

// add takes everything that a repository has, and returns its manifests by their tags.
func (l *layout) add(t *testing.T, registry, repository string) map[string][]byte {
	t.Helper()
	base := "http://" + registry + "/v2/" + repository
	var list struct{ Tags []string }
	data, _ := get(t, base+"/tags/list")
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	tags := map[string][]byte{}
	for _, tag := range list.Tags {
		data, mediaType := get(t, base+"/manifests/"+tag)
		l.blobs[env.Digest(data)], tags[tag] = data, data
		l.index = append(l.index, map[string]any{"mediaType": mediaType, "digest": env.Digest(data), "size": len(data),
			"annotations": map[string]string{"org.opencontainers.image.ref.name": repository + ":" + tag}})
		l.follow(t, base, data)
	}
	return tags
}

// follow takes what a manifest names.
func (l *layout) follow(t *testing.T, base string, data []byte) {
	t.Helper()
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	for _, child := range m.Manifests {
		l.blobs[child.Digest], _ = get(t, base+"/manifests/"+child.Digest)
		l.follow(t, base, l.blobs[child.Digest])
	}
	for _, layer := range m.Layers {
		l.blobs[layer.Digest], _ = get(t, base+"/blobs/"+layer.Digest)
	}
	if m.Config.Digest != "" {
		l.blobs[m.Config.Digest], _ = get(t, base+"/blobs/"+m.Config.Digest)
	}
}

// readLayout reads a layout that was written, and returns each repository's manifests by their tags.
func readLayout(t testing.TB, dir string) (l *layout, repositories map[string]map[string][]byte) {
	t.Helper()
	l, repositories = newLayout(), map[string]map[string][]byte{}
	blobs := filepath.Join(dir, "layout", "blobs", "sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(blobs, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if l.blobs["sha256:"+e.Name()] = data; env.Digest(data) != "sha256:"+e.Name() {
			t.Errorf("%s was changed", e.Name())
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "layout", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	for _, m := range index.Manifests {
		repository, tag, _ := strings.Cut(m.Annotations["org.opencontainers.image.ref.name"], ":")
		if repositories[repository] == nil {
			repositories[repository] = map[string][]byte{}
		}
		repositories[repository][tag] = l.blobs[m.Digest]
	}
	return l, repositories
}

// beside is the signature that cosign stored beside an image.
func (l *layout) beside(t testing.TB, digest string, tags map[string][]byte) keyless.Signature {
	t.Helper()
	tag := strings.Replace(digest, ":", "-", 1)
	if data := tags[tag+".sig"]; data != nil {
		var m manifest
		if err := json.Unmarshal(data, &m); err != nil || len(m.Layers) != 1 {
			t.Fatalf("%v: %s", err, data)
		}
		a := m.Layers[0].Annotations
		signature, err := base64.StdEncoding.DecodeString(a["dev.cosignproject.cosign/signature"])
		if err != nil {
			t.Fatal(err)
		}
		return keyless.Signature{Payload: l.blobs[m.Layers[0].Digest], Signature: signature, Certificate: a["dev.sigstore.cosign/certificate"],
			Chain: a["dev.sigstore.cosign/chain"], RekorBundle: json.RawMessage(a["dev.sigstore.cosign/bundle"])}
	}
	var index, m manifest
	if err := json.Unmarshal(tags[tag], &index); err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%v: %s of %v", err, tags[tag], slices.Collect(maps.Keys(tags)))
	}
	if err := json.Unmarshal(l.blobs[index.Manifests[0].Digest], &m); err != nil || len(m.Layers) != 1 {
		t.Fatal(err)
	}
	return keyless.Signature{Bundle: l.blobs[m.Layers[0].Digest]}
}

// write writes the layout into the directory, in place of the one that may be there.
func (l *layout) write(t *testing.T, dir string) {
	t.Helper()
	dir = filepath.Join(dir, "layout")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	index, err := json.MarshalIndent(map[string]any{"schemaVersion": 2, "mediaType": env.OCIIndex, "manifests": l.index}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": append(index, '\n')}
	for digest, data := range l.blobs {
		files[filepath.Join("blobs", strings.Replace(digest, ":", "/", 1))] = data
	}
	for name, data := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
