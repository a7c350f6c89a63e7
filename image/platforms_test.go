package image

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"loper.run/image/oci"
)

// Images for several platforms have one name, and each can be had and removed by itself.
func TestSeveralPlatformsOfOneName(t *testing.T) {
	f, s := newFake(t), open(t)
	others := []oci.Platform{{OS: "linux", Architecture: "s390x"}, {OS: "linux", Architecture: "riscv64"}}
	host := oci.Host()
	var entries []any
	for _, p := range []*oci.Platform{&others[0], &others[1], &host} {
		d := f.image(t, "", *p, gz(t, "a", p.Architecture), gz(t, "b", "same"))
		d.Platform = p
		entries = append(entries, d)
	}
	f.manifest(t, "latest", oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": entries})

	want := func(platform, content string) *Image {
		t.Helper()
		img, err := s.ResolveFor(f.name(), platform)
		if err != nil {
			t.Fatalf("%s: %v", platform, err)
		}
		if got := read(t, img, "a"); got != content {
			t.Errorf("%s: the image is for %s, want %s", platform, got, content)
		}
		return img
	}
	pull := func(platform string) {
		t.Helper()
		if _, err := s.Pull(t.Context(), f.name(), PullOptions{Platform: platform}); err != nil {
			t.Fatal(err)
		}
	}
	pull("linux/s390x")
	want("", "s390x")
	if _, err := s.FindFor(f.name(), "linux/riscv64"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image that was not pulled: %v", err)
	}
	pull("")
	mine := want("", host.Architecture)
	pull("linux/riscv64")
	want("", host.Architecture)
	want("linux/s390x", "s390x")
	want("linux/riscv64", "riscv64")
	list, err := s.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("%d images, %v", len(list), err)
	}
	for _, img := range list {
		if !slices.Contains(img.Names, f.name()) || img.Platform.OS != "linux" || len(img.Digests) != 1 {
			t.Errorf("%s has the names %v and %v, platform %s", img.ID.Short(), img.Names, img.Digests, img.Platform)
		}
	}
	if err := s.Tag(f.name(), "copy"); err != nil {
		t.Fatal(err)
	}
	if img, err := s.FindFor("copy", "linux/s390x"); err != nil || read(t, img, "a") != "s390x" {
		t.Errorf("a tag lost a platform: %v", err)
	}
	if un, del, err := s.Remove("copy", false, nil); err != nil || len(un) != 1 || len(del) != 0 {
		t.Errorf("untag the copy: %v, %v, %v", un, del, err)
	}
	if un, del, err := s.RemoveFor(f.name(), "linux/riscv64", false, nil); err != nil || len(un) != 0 || len(del) != 1 {
		t.Errorf("remove one platform: %v, %v, %v", un, del, err)
	}
	want("linux/s390x", "s390x")
	// A container of one of them keeps all.
	users := func(id oci.Digest) []string {
		if id == mine.ID {
			return []string{"somebody"}
		}
		return nil
	}
	if _, _, err := s.Remove(f.name(), false, users); err == nil || !strings.Contains(err.Error(), "somebody") {
		t.Errorf("removed beside its container: %v", err)
	}
	want("linux/s390x", "s390x")
	if un, del, err := s.Remove(f.name(), false, nil); err != nil || len(un) != 2 || len(del) != 2 {
		t.Errorf("remove all: %v, %v, %v", un, del, err)
	}
	wantNothing(t, s)
}

// When the tag moves to another index, images of the old one lose the name.
func TestTagMovesToAnotherIndex(t *testing.T) {
	f, s := newFake(t), open(t)
	other, host := oci.Platform{OS: "linux", Architecture: "s390x"}, oci.Host()
	index := func(text string) {
		mine, theirs := f.image(t, "", host, gz(t, "a", text)), f.image(t, "", other, gz(t, "a", text+" s390x"))
		mine.Platform, theirs.Platform = &host, &other
		f.manifest(t, "latest", oci.TypeIndex, object{"schemaVersion": 2, "manifests": []any{mine, theirs}})
	}
	index("one")
	old, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	index("two")
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{Platform: "linux/s390x"}); err != nil {
		t.Fatal(err)
	}
	if img, err := s.ResolveFor(f.name(), host.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("an image of the old index has the name: %v, %v", img, err)
	}
	if img, err := s.Resolve(old.ID.String()); err != nil || len(img.Names) != 0 {
		t.Errorf("the old image: %v, %v", img, err)
	}
}
