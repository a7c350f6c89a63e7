package store

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"loper.run/image/oci"
)

// sameLists checks that lists are what the records say.
func sameLists(t *testing.T, s *Store, when string) {
	t.Helper()
	order := func(a, b Image) int { return strings.Compare(a.ID.Hex(), b.ID.Hex()) }
	images, err := s.Images()
	listed, err2 := s.ListImages()
	slices.SortFunc(images, order)
	slices.SortFunc(listed, order)
	if err != nil || err2 != nil || !reflect.DeepEqual(images, listed) {
		t.Errorf("%s: %d images, listed %d; %v, %v", when, len(images), len(listed), err, err2)
	}
	names, err := s.Names()
	listedNames, err2 := s.ListNames()
	if err != nil || err2 != nil || !reflect.DeepEqual(names, listedNames) {
		t.Errorf("%s: %d names, listed %d; %v, %v", when, len(names), len(listedNames), err, err2)
	}
}

// TestListsFollowChanges changes records under a cache in every way that there
// is, young and old, and wants lists that are never behind.
func TestListsFollowChanges(t *testing.T) {
	s := open(t)
	config := func(i int) oci.Digest { return put(t, s, "", fmt.Appendf(nil, "config %d", i)).Digest }
	image := func(i int) Image {
		img := Image{ID: config(i), Manifest: config(0), Layers: []oci.Digest{}, Size: int64(i)}
		if err := s.PutImage(img); err != nil {
			t.Fatal(err)
		}
		if err := s.SetName(Name{Name: fmt.Sprint("name", i), Image: img.ID, Manifest: img.ID}); err != nil {
			t.Fatal(err)
		}
		return img
	}
	var images []Image
	for i := range cacheFrom + 20 {
		images = append(images, image(i))
	}
	sameLists(t, s, "young")
	if _, err := os.Stat(s.path(nameCache)); err == nil {
		t.Error("names were cached that may still change in the same moment")
	}
	time.Sleep(cacheAge + 100*time.Millisecond)
	for _, when := range []string{"old", "cached"} {
		sameLists(t, s, when)
		for _, file := range []string{imageCache, nameCache} {
			if _, err := os.Stat(s.path(file)); err != nil {
				t.Error(err)
			}
		}
	}
	changes := map[string]func() error{
		"a record is replaced": func() error { images[3].Size = 99; return s.PutImage(images[3]) },
		"an image goes":        func() error { return s.DeleteImage(t.Context(), images[5].ID, nil) },
		"a name is taken over": func() error { return s.SetName(Name{Name: "name7", Image: images[8].ID, Manifest: images[8].ID}) },
		"a name goes":          func() error { return s.DeleteName("name9") },
		"an image comes":       func() error { image(1000); return nil },
		"an image is touched":  func() error { s.Touch(images[11].ID); return nil },
		"a cache is cut":       func() error { return os.Truncate(s.path(imageCache), 3000) },
		"a cache is rotten": func() error {
			data, err := os.ReadFile(s.path(nameCache))
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(s.path(nameCache), data, 0o600)
		},
	}
	for what, change := range changes {
		if err := change(); err != nil {
			t.Fatal(what, err)
		}
		sameLists(t, s, what)
		sameLists(t, s, what+", again")
	}
	time.Sleep(cacheAge + 100*time.Millisecond)
	sameLists(t, s, "old again")
	sameLists(t, s, "cached again")
	// A record that is damaged where it stands keeps its directory's time: a list
	// may not see it, a check does.
	if err := os.Truncate(filepath.Join(s.place(imageDir, images[20].ID), imageFile), 4); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Inventory(); err != nil || len(v.Damaged) != 1 {
		t.Errorf("%+v, %v", v.Damaged, err)
	}
}
