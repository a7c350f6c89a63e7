package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"loper.run/image/oci"
)

// A name may have images for several platforms: one that is deleted leaves the others.
func TestNameOfSeveralPlatforms(t *testing.T) {
	s, ctx := open(t), context.Background()
	a := addImage(t, s, "x/a:1", "base", "a")
	b := addImage(t, s, "x/b:1", "base", "b")
	c := addImage(t, s, "x/c:1", "base", "c")
	all := Name{Name: "x/all:1", Image: a.ID, Others: []oci.Digest{b.ID, c.ID}, Manifest: a.Manifest}
	if err := s.SetName(all); err != nil {
		t.Fatal(err)
	}
	want := func(ids ...oci.Digest) {
		t.Helper()
		n, err := s.Name("x/all:1")
		if err != nil || !slices.Equal(n.Images(), ids) {
			t.Errorf("the name has %v, %v; want %v", n.Images(), err, ids)
		}
	}
	want(a.ID, b.ID, c.ID)
	if err := s.DeleteImage(ctx, b.ID, nil); err != nil {
		t.Fatal(err)
	}
	want(a.ID, c.ID)
	if err := s.DeleteImage(ctx, a.ID, nil); err != nil {
		t.Fatal(err)
	}
	want(c.ID)
	// One whose record went without its name, as when a deletion is killed.
	if err := os.Remove(filepath.Join(s.place(imageDir, c.ID), imageFile)); err != nil {
		t.Fatal(err)
	}
	if freed, err := s.Collect(ctx); err != nil || freed.Names != 2 {
		t.Errorf("%+v, %v", freed, err)
	}
	if _, err := s.Name("x/all:1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name without an image is left: %v", err)
	}
	if err := s.SetName(all); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name was given to images that are gone: %v", err)
	}
}

// A list's index stays while its name does, also without any image.
func TestCollectKeepsLists(t *testing.T) {
	s, ctx := open(t), context.Background()
	index, manifest := []byte(`{"manifests":[]}`), []byte(`{"layers":[]}`)
	for _, body := range [][]byte{index, manifest} {
		if err := s.PutBlob(oci.FromBytes(body), body); err != nil {
			t.Fatal(err)
		}
	}
	a := addImage(t, s, "x/a:1", "base", "a")
	list := Name{Name: "x/list:1", List: true, Manifest: oci.FromBytes(index), Image: a.ID, Blobs: []oci.Digest{oci.FromBytes(manifest)}}
	if err := s.SetName(Name{Name: "x/bad:1", List: true, Manifest: digest("missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a list without its index: %v", err)
	}
	if err := s.SetName(list); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteImage(ctx, a.ID, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	n, err := s.Name("x/list:1")
	if err != nil || !n.Image.IsZero() || n.Manifest != list.Manifest {
		t.Errorf("%+v, %v", n, err)
	}
	for _, d := range []oci.Digest{list.Manifest, list.Blobs[0]} {
		if _, err := s.Blob(d, 1000); err != nil {
			t.Error(err)
		}
	}
	if err := s.DeleteName("x/list:1"); err != nil {
		t.Fatal(err)
	}
	if freed, err := s.Collect(ctx); err != nil || freed.Blobs != 2 {
		t.Errorf("%+v, %v", freed, err)
	}
}

func TestUpdateNameByMany(t *testing.T) {
	s := open(t)
	var ids []oci.Digest
	for _, text := range []string{"a", "b", "c", "d", "e"} {
		ids = append(ids, addImage(t, s, "x/"+text+":1", "base", text).ID)
	}
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			err := s.UpdateName("x/all:1", func(n Name) (Name, error) {
				if n.Image.IsZero() {
					n.Image = id
				} else {
					n.Others = append(n.Others, id)
				}
				return n, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n, err := s.Name("x/all:1"); err != nil || len(n.Images()) != len(ids) {
		t.Errorf("%d of %d images have the name: %v", len(n.Images()), len(ids), err)
	}
}
