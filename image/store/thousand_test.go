package store

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"loper.run/image/oci"
)

// thousand fills a store with 1,000 images of five layers, four of which are
// everybody's, with two names each, as a pull gives them.
func thousand(t testing.TB, s *Store) {
	t.Helper()
	release, err := s.Use(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	var base []oci.Digest
	for i := range 4 {
		base = append(base, addLayer(t, s, fmt.Sprint("base", i)).DiffID)
	}
	for i := range 1000 {
		layers := append(base[:4:4], addLayer(t, s, fmt.Sprint("top", i)).DiffID)
		config := put(t, s, oci.TypeConfig, oci.Image{Platform: oci.Host(), Author: fmt.Sprint(i), RootFS: oci.RootFS{Type: "layers", DiffIDs: layers}})
		packed := []oci.Descriptor{}
		for _, d := range layers {
			packed = append(packed, oci.Descriptor{MediaType: oci.TypeLayer, Digest: d, Size: 5})
		}
		manifest := put(t, s, oci.TypeManifest, map[string]any{"schemaVersion": 2, "mediaType": oci.TypeManifest, "config": config, "layers": packed})
		list := put(t, s, oci.TypeIndex, index(manifest))
		name := fmt.Sprintf("registry.example.com/group/image%d", i)
		digest := name + "@" + list.Digest.String()
		img := Image{ID: config.Digest, Manifest: manifest.Digest, Blobs: []oci.Digest{list.Digest}, Layers: layers, Packed: layers, Digests: []string{digest}, Created: time.Unix(int64(i), 0), PulledAt: time.Now(), Platform: oci.Host()}
		if err := s.PutImage(img); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{name + ":latest", digest} {
			if err := s.SetName(Name{Name: n, Image: img.ID, Manifest: list.Digest}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// BenchmarkThousand measures what commands do in a store of 1,000 images.
func BenchmarkThousand(b *testing.B) {
	dir := os.Getenv("LOPER_TEST_THOUSAND")
	if dir == "" {
		dir = b.TempDir()
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	if all, _ := s.Images(); len(all) < 1000 {
		thousand(b, s)
	}
	b.Run("images", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.Images(); err != nil || len(all) < 1000 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("names", func(b *testing.B) {
		for b.Loop() {
			if all, err := s.Names(); err != nil || len(all) < 2000 {
				b.Fatal(len(all), err)
			}
		}
	})
	b.Run("collect", func(b *testing.B) {
		for b.Loop() {
			if f, err := s.Collect(context.Background()); err != nil || f.Layers+f.Blobs > 0 {
				b.Fatal(f, err)
			}
		}
	})
	b.Run("collect one blob", func(b *testing.B) {
		for b.Loop() {
			put(b, s, "", []byte("loose"))
			if f, err := s.Collect(context.Background()); err != nil || f.Blobs != 1 {
				b.Fatal(f, err)
			}
		}
	})
}
