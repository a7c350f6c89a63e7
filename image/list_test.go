package image

import (
	"encoding/json"
	"errors"
	"testing"

	"loper.run/image/oci"
	"loper.run/test/env"
)

func index(t *testing.T, body []byte) oci.Index {
	t.Helper()
	var x oci.Index
	if err := json.Unmarshal(body, &x); err != nil {
		t.Fatal(err)
	}
	return x
}

// A list of an image that is here and one that only a registry has, through all that can be done with it.
func TestList(t *testing.T) {
	f, s, from := pullFrom(t)
	ctx := t.Context()
	mine := mustPull(t, s, from, "")
	remote := f.image(t, "other", oci.Platform{OS: "linux", Architecture: "s390x"}, gz(t, "a", "remote"))

	if _, err := s.CreateList(ctx, "team/list:1", []string{from}, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := s.CreateList(ctx, "team/list:1", nil, ListOptions{})
	wantError(t, err, "in use already", "--amend")
	_, err = s.CreateList(ctx, from, nil, ListOptions{Amend: true})
	wantError(t, err, "is an image")
	if _, err := s.AddToList(ctx, "team/list:1", "docker://"+from+":other", false, Entry{Variant: "v3", Annotations: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if !s.IsList("team/list:1") || s.IsList(from) {
		t.Error("which name is a list's is not known")
	}
	show := func() oci.Index {
		t.Helper()
		body, err := s.ListBody(ctx, "team/list:1")
		if err != nil {
			t.Fatal(err)
		}
		return index(t, body)
	}
	x := show()
	if len(x.Manifests) != 2 || x.Manifests[0].Digest != mine.Manifest || x.Manifests[1].Digest != remote.Digest || x.MediaType != oci.TypeIndex {
		t.Fatalf("%+v", x)
	}
	if p := x.Manifests[1].Platform; p == nil || p.Architecture != "s390x" || p.Variant != "v3" || x.Manifests[1].Annotations["a"] != "b" || x.Manifests[1].Size != remote.Size {
		t.Errorf("%+v", x.Manifests[1])
	}
	if _, err := s.AnnotateList(ctx, "team/list:1", from, Entry{OSVersion: "12", Features: []string{"sse"}, OSFeatures: []string{"x"}, Annotations: map[string]string{"c": "d"}}); err != nil {
		t.Fatal(err)
	}
	x = show()
	if p := x.Manifests[0].Platform; p.OSVersion != "12" || len(p.Features) != 1 || len(p.OSFeatures) != 1 || x.Manifests[0].Annotations["c"] != "d" {
		t.Errorf("%+v", x.Manifests[0])
	}
	// It can be run, as what it has for this machine.
	if img, err := s.Find("team/list:1"); err != nil || img.ID != mine.ID {
		t.Errorf("%v", err)
	}

	reg := env.NewWritable(t)
	desc, err := s.PushList(ctx, "team/list:1", reg.Addr+"/l:1", ListPush{})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := reg.Manifest("l", "1"); !ok || oci.FromBytes(got.Data) != desc.Digest || len(index(t, got.Data).Manifests) != 2 {
		t.Errorf("%t: %s", ok, got.Data)
	}
	desc, err = s.PushList(ctx, "team/list:1", reg.Addr+"/l:docker", ListPush{Docker: true, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := reg.Manifest("l", "docker"); got.MediaType != oci.TypeDockerIndex || index(t, got.Data).Manifests[0].Annotations != nil || desc.MediaType != oci.TypeDockerIndex {
		t.Errorf("%s: %s", got.MediaType, got.Data)
	}
	other := open(t)
	if img := mustPull(t, other, reg.Addr+"/l:1", "linux/s390x/v3"); read(t, img, "a") != "remote" {
		t.Error("the image that came from a registry is another")
	}
	if body, err := other.ListBody(ctx, reg.Addr+"/l:docker"); err != nil || len(index(t, body).Manifests) != 2 {
		t.Errorf("the list at a registry: %v", err)
	}

	// The images go, the list stays, with what it needs.
	if _, _, err := s.Remove(from, true, nil); err != nil {
		t.Fatal(err)
	}
	if x = show(); len(x.Manifests) != 2 {
		t.Errorf("%+v", x)
	}
	if _, err := s.Find("team/list:1"); err != nil {
		t.Errorf("the list kept no image: %v", err)
	}
	if _, err := s.RemoveFromList(ctx, "team/list:1", remote.Digest.String()); err != nil {
		t.Fatal(err)
	}
	_, err = s.RemoveFromList(ctx, "team/list:1", remote.Digest.String())
	wantError(t, err, "is not in the list")
	if x = show(); len(x.Manifests) != 1 {
		t.Errorf("%+v", x)
	}
	if name, _, err := s.RemoveList("team/list:1"); err != nil || name != "team/list:1" {
		t.Errorf("%s, %v", name, err)
	}
	if _, err := s.AddToList(ctx, "team/list:1", from, false, Entry{}); !errors.Is(err, ErrNoList) {
		t.Error(err)
	}
}

func TestListOfAllPlatforms(t *testing.T) {
	_, s, from := pullFrom(t)
	ctx := t.Context()
	if _, err := s.CreateList(ctx, "l", []string{from + ":multi"}, ListOptions{All: true, Annotations: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateList(ctx, "one", []string{from + ":multi"}, ListOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"l": 2, "one": 1} {
		body, err := s.ListBody(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if x := index(t, body); len(x.Manifests) != want || name == "l" && x.Annotations["k"] != "v" {
			t.Errorf("%s: %s", name, body)
		}
	}
	// None of its images is here, but it can be pushed, from where they are, and removed.
	if _, err := s.Find("l"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	reg := env.NewWritable(t)
	if _, err := s.PushList(ctx, "l", reg.Addr+"/x", ListPush{}); err != nil {
		t.Fatal(err)
	}
	if img := mustPull(t, s, reg.Addr+"/x", "linux/s390x"); read(t, img, "a") != "theirs" {
		t.Error("another image came")
	}
	if un, del, err := s.Remove("l", false, nil); err != nil || len(un) != 1 || len(del) != 0 {
		t.Errorf("%v, %v, %v", un, del, err)
	}
}
