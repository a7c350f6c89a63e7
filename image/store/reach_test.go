package store

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"loper.run/image/oci"
)

// put stores a document and returns what points at it.
func put(t testing.TB, s *Store, mediaType string, doc any) oci.Descriptor {
	t.Helper()
	data, ok := doc.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
	}
	d := oci.FromBytes(data)
	if err := s.PutBlob(d, data); err != nil {
		t.Fatal(err)
	}
	return oci.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// realImage makes an image of real documents, as a pull does, with a packed
// blob of each layer. Its manifest is returned too.
func realImage(t testing.TB, s *Store, name string, layers ...string) (Image, oci.Descriptor) {
	t.Helper()
	release, err := s.Use(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	config := oci.Image{Author: name, RootFS: oci.RootFS{Type: "layers"}}
	m := map[string]any{"schemaVersion": 2, "mediaType": oci.TypeManifest}
	var packed []oci.Descriptor
	var img Image
	for _, l := range layers {
		if _, err := s.Layer(digest(l)); err != nil {
			addLayer(t, s, l)
		}
		img.Layers = append(img.Layers, digest(l))
		packed = append(packed, put(t, s, oci.TypeLayer, []byte("packed "+l)))
		img.Packed = append(img.Packed, packed[len(packed)-1].Digest)
	}
	config.RootFS.DiffIDs = img.Layers
	c := put(t, s, oci.TypeConfig, config)
	m["config"], m["layers"] = c, packed
	manifest := put(t, s, oci.TypeManifest, m)
	img.ID, img.Manifest, img.Kept = c.Digest, manifest.Digest, true
	if err := s.PutImage(img); err != nil {
		t.Fatal(err)
	}
	if name != "" {
		if err := s.SetName(Name{Name: name, Image: img.ID, Manifest: manifest.Digest}); err != nil {
			t.Fatal(err)
		}
	}
	return img, manifest
}

func index(manifests ...oci.Descriptor) map[string]any {
	return map[string]any{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": manifests}
}

func collect(t testing.TB, s *Store) Freed {
	t.Helper()
	f, err := s.Collect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (s *Store) has(t testing.TB, what string, want bool, blobs ...oci.Digest) {
	t.Helper()
	for _, d := range blobs {
		if s.hasBlob(d) != want {
			t.Errorf("%s: blob %s is there: %v", what, d.Short(), !want)
		}
	}
}

// TestCollectFollowsDocuments keeps what is reached through indexes inside of
// indexes, and signatures of what is kept, and nothing else.
func TestCollectFollowsDocuments(t *testing.T) {
	s, ctx := open(t), context.Background()
	img, manifest := realImage(t, s, "a", "base", "a")
	artifact := func(subject oci.Descriptor, text string) (oci.Descriptor, oci.Descriptor) {
		payload := put(t, s, "text/plain", []byte(text))
		empty := put(t, s, "application/vnd.oci.empty.v1+json", []byte("{}"))
		return put(t, s, oci.TypeManifest, map[string]any{
			"schemaVersion": 2, "mediaType": oci.TypeManifest, "artifactType": "x/y", "config": empty,
			"layers": []oci.Descriptor{payload}, "subject": subject,
		}), payload
	}
	signature, payload := artifact(manifest, "signed")
	counter, payload2 := artifact(signature, "and that signed")
	stray, payload3 := artifact(oci.Descriptor{MediaType: oci.TypeManifest, Digest: digest("gone"), Size: 1}, "of nothing")
	// A manifest in an index in an index: of a signature, and of another
	// platform, whose image was removed.
	layer2 := put(t, s, "application/vnd.dev.cosign.simplesigning.v1+json", []byte("signed too"))
	config2 := put(t, s, oci.TypeConfig, []byte("a config"))
	manifest2 := put(t, s, oci.TypeManifest, map[string]any{"schemaVersion": 2, "config": config2, "layers": []oci.Descriptor{layer2}})
	layer3 := put(t, s, oci.TypeLayer, []byte("a packed layer of another platform"))
	config3 := put(t, s, oci.TypeConfig, []byte("{}"))
	manifest3 := put(t, s, oci.TypeManifest, map[string]any{"schemaVersion": 2, "config": config3, "layers": []oci.Descriptor{layer3}})
	inner := put(t, s, oci.TypeIndex, index(manifest2, manifest, manifest3, oci.Descriptor{Digest: digest("elsewhere"), Size: 3}))
	outer := put(t, s, oci.TypeIndex, index(inner))
	if err := s.SetName(Name{Name: "a", Image: img.ID, Manifest: outer.Digest}); err != nil {
		t.Fatal(err)
	}
	loose := put(t, s, "", []byte("nobody's"))
	f := collect(t, s)
	if f.Blobs != 4 || f.Layers != 0 { // stray, its payload, layer3, loose; the empty config is an artifact's too
		t.Errorf("freed %+v", f)
	}
	s.has(t, "kept", true, img.ID, manifest.Digest, signature.Digest, payload.Digest, counter.Digest, payload2.Digest,
		layer2.Digest, config2.Digest, manifest2.Digest, manifest3.Digest, inner.Digest, outer.Digest, img.Packed[0], img.Packed[1])
	s.has(t, "freed", false, stray.Digest, payload3.Digest, loose.Digest, layer3.Digest)

	if err := s.DeleteImage(ctx, img.ID, nil); err != nil {
		t.Fatal(err)
	}
	collect(t, s)
	if all, err := s.listBlobs(); err != nil || len(all) != 0 {
		t.Errorf("left without any image: %v, %v", all, err)
	}
}

// TestCollectWithDamagedRecord frees what nobody needs though a record can't be
// read, and nothing of its image.
func TestCollectWithDamagedRecord(t *testing.T) {
	s, ctx := open(t), context.Background()
	a, _ := realImage(t, s, "a", "base", "a")
	b, _ := realImage(t, s, "b", "base", "b")
	c, _ := realImage(t, s, "c", "c")
	for _, id := range []oci.Digest{a.ID, c.ID} {
		if err := os.Truncate(filepath.Join(s.place(imageDir, id), imageFile), 10); err != nil {
			t.Fatal(err)
		}
	}
	if images, err := s.Images(); !errors.Is(err, ErrDamaged) || len(images) != 1 {
		t.Errorf("%v, %v", images, err)
	}
	if err := os.WriteFile(s.place(blobDir, c.ID), []byte("rotten"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteImage(ctx, b.ID, nil); err != nil {
		t.Fatal(err)
	}
	f := collect(t, s)
	if !errors.Is(f.Damaged, ErrDamaged) || f.Layers != 2 || f.Blobs != 3 { // the blobs of b, and the layer of c, of which nobody can make anything
		t.Errorf("freed %+v", f)
	}
	s.has(t, "of the damaged record", true, append(a.Packed, a.ID, a.Manifest)...)
	for _, d := range a.Layers {
		if _, err := s.Layer(d); err != nil {
			t.Error(err)
		}
	}
	if err := s.DeleteImage(ctx, a.ID, nil); err != nil {
		t.Errorf("a damaged image can't be deleted: %v", err)
	}
	if f := collect(t, s); f.Layers != 2 {
		t.Errorf("freed %+v", f)
	}
	if err := os.WriteFile(s.path(nameDir, "junk"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := s.Names(); !errors.Is(err, ErrDamaged) || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	if f := collect(t, s); !errors.Is(f.Damaged, ErrDamaged) {
		t.Errorf("freed %+v", f)
	}
}

// TestCollectAsksContainers keeps the layers of containers without an image.
func TestCollectAsksContainers(t *testing.T) {
	s := open(t)
	l := addLayer(t, s, "used")
	addLayer(t, s, "unused")
	failure := errors.New("no idea")
	s.InUse = func([]string) ([]string, error) { return nil, failure }
	if _, err := s.Collect(context.Background()); !errors.Is(err, failure) {
		t.Errorf("collected without knowing what containers need: %v", err)
	}
	s.InUse = func([]string) ([]string, error) { return []string{"/", l.Dir, "/x/diff"}, nil }
	if f := collect(t, s); f.Layers != 1 {
		t.Errorf("freed %+v", f)
	}
	if _, err := s.Layer(l.DiffID); err != nil {
		t.Error(err)
	}
}
