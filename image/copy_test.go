package image

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"loper.run/image/oci"
	"loper.run/image/registry"
	"loper.run/test/env"
)

func mustCopy(t *testing.T, s *Store, from, to string, o CopyOptions) oci.Digest {
	t.Helper()
	d, err := s.Copy(t.Context(), from, to, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// From one place to the next and back to the first: the digest stays, and nothing passes through the store.
func TestCopyAround(t *testing.T) {
	f, s, from := pullFrom(t)
	dir, reg := t.TempDir(), env.NewWritable(t)
	for _, tag := range []string{"latest", "multi"} {
		want := oci.FromBytes(f.files["manifests/"+tag])
		at := "docker://" + from + ":" + tag
		places := []string{"oci:" + dir + "/layout-" + tag, "oci-archive:" + dir + "/" + tag + ".tar", "docker-archive:" + dir + "/docker-" + tag + ".tar", "docker://" + reg.Addr + "/x:" + tag}
		if tag == "latest" {
			places = append(places, "dir:"+dir+"/plain", "docker://"+reg.Addr+"/y:"+tag)
		}
		for _, to := range places {
			if got := mustCopy(t, s, at, to, CopyOptions{All: true}); got != want {
				t.Errorf("%s to %s: %s, want %s", at, to, got, want)
			}
			at = to
		}
		if m, ok := reg.Manifest("x", tag); !ok || oci.FromBytes(m.Data) != want {
			t.Errorf("%s: the registry has %t, %s", tag, ok, m.Digest())
		}
	}
	wantNothing(t, s)
	// Into the store, under another name, and out of it.
	mustCopy(t, s, "oci-archive:"+dir+"/multi.tar", "mine:1", CopyOptions{})
	mustCopy(t, s, "docker://"+reg.Addr+"/x:latest", "mine:2", CopyOptions{})
	if img, err := s.Resolve("mine:1"); err != nil || read(t, img, "a") != "mine" {
		t.Errorf("%v", err)
	}
	if got := mustCopy(t, s, "mine:2", "docker://"+reg.Addr+"/z", CopyOptions{}); got != oci.FromBytes(f.files["manifests/latest"]) {
		t.Errorf("from the store: %s", got)
	}
}

// Of an index one platform goes, unless all are asked for.
func TestCopyOnePlatform(t *testing.T) {
	f, s, from := pullFrom(t)
	reg := env.NewWritable(t)
	x := index(t, f.files["manifests/multi"])
	if got := mustCopy(t, s, "docker://"+from+":multi", "docker://"+reg.Addr+"/a", CopyOptions{}); got != x.Manifests[0].Digest {
		t.Errorf("%s", got)
	}
	if got := mustCopy(t, s, "docker://"+from+":multi", "docker://"+reg.Addr+"/a", CopyOptions{Platform: "linux/s390x"}); got != x.Manifests[1].Digest {
		t.Errorf("%s", got)
	}
	_, err := s.Copy(t.Context(), "docker://"+from+":multi", "docker://"+reg.Addr+"/a", CopyOptions{Platform: "linux/riscv64"})
	wantError(t, err, "no image for the platform linux/riscv64")
}

func TestCopyMounts(t *testing.T) {
	_, s, from := pullFrom(t)
	reg := env.NewWritable(t)
	reg.Mounts = true
	mustCopy(t, s, "docker://"+from, "docker://"+reg.Addr+"/a", CopyOptions{})
	show := new(recorder)
	mustCopy(t, s, "docker://"+reg.Addr+"/a", "docker://"+reg.Addr+"/b", CopyOptions{Progress: show})
	if n := show.count("Mounted from a"); n != 3 {
		t.Errorf("%d layers were mounted: %v", n, show.states)
	}
}

// What refers to an image goes with it: by the API or by a tag, on either side.
func TestCopyReferrers(t *testing.T) {
	_, s, from := pullFrom(t)
	for _, lists := range []bool{true, false} {
		reg, to := env.NewWritable(t), env.NewWritable(t)
		reg.Lists, to.Lists = lists, !lists
		image := mustCopy(t, s, "docker://"+from, "docker://"+reg.Addr+"/a", CopyOptions{})
		m, _ := reg.Manifest("a", "latest")
		reg.PutBlob("a", []byte(oci.EmptyJSON))
		client, err := registry.New(reg.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		put := func(subject oci.Descriptor, tags ...string) oci.Descriptor {
			body, err := json.Marshal(oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, ArtifactType: "test/sig", Config: oci.Empty(), Layers: []oci.Descriptor{oci.Empty()}, Subject: &subject})
			if err != nil {
				t.Fatal(err)
			}
			d := oci.Descriptor{MediaType: oci.TypeManifest, Digest: oci.FromBytes(body), Size: int64(len(body))}
			if err := client.PutManifest(t.Context(), "a", body, oci.TypeManifest, d.Digest, tags...); err != nil {
				t.Fatal(err)
			}
			return d
		}
		sig := put(oci.Descriptor{MediaType: m.MediaType, Digest: image, Size: int64(len(m.Data))})
		put(sig)                               // a signature of the signature
		put(sig, "sha256-"+image.Hex()+".sig") // as cosign tags them
		mustCopy(t, s, "docker://"+reg.Addr+"/a", "docker://"+to.Addr+"/b:c", CopyOptions{Referrers: true})
		there, err := registry.New(to.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		for _, d := range []oci.Digest{image, sig.Digest} {
			if list, err := there.Referrers(t.Context(), "b", d, ""); err != nil || len(list) != 1 {
				t.Errorf("lists %t: %s has %d referrers, %v", lists, d.Short(), len(list), err)
			}
		}
		if _, ok := to.Manifest("b", "sha256-"+image.Hex()+".sig"); !ok {
			t.Error("cosign's tag was not copied")
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	_, s, from := pullFrom(t)
	dir := t.TempDir()
	for _, c := range []struct{ from, to, want string }{
		{"nope", "docker://" + from, "no such image"},
		{"docker://" + from + ":nope", "oci:" + dir + "/x", "not found"},
		{"oci:" + dir + "/none", "docker://" + from, "no such file"},
		{"docker://" + from, "oci:", "no path"},
		{"docker://" + from, "docker://Bad Name", "invalid"},
	} {
		_, err := s.Copy(t.Context(), c.from, c.to, CopyOptions{})
		wantError(t, err, c.want)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	mustCopy(t, s, "docker://"+from, "oci-archive:"+dir+"/a.tar:name:v1", CopyOptions{})
	_, err := s.Copy(t.Context(), "oci-archive:"+dir+"/a.tar:other", "x", CopyOptions{})
	wantError(t, err, "no such image", "name:v1")
	mustCopy(t, s, "oci-archive:"+dir+"/a.tar:v1", "x", CopyOptions{})
}

// A blob that breaks on its way from one registry to the other is not completed.
func TestCopyOfDamaged(t *testing.T) {
	f, s, from := pullFrom(t)
	m := index(t, f.files["manifests/multi"]).Manifests[0]
	var doc oci.Manifest
	if err := json.Unmarshal(f.files["manifests/"+m.Digest.String()], &doc); err != nil {
		t.Fatal(err)
	}
	path := "blobs/" + doc.Layers[0].Digest.String()
	bad := bytes.Clone(f.files[path])
	bad[len(bad)/2]++
	f.files[path] = bad
	reg := env.NewWritable(t)
	_, err := s.Copy(t.Context(), "docker://"+from+":multi", "docker://"+reg.Addr+"/a", CopyOptions{})
	wantError(t, err, "damaged", doc.Layers[0].Digest.String())
	if _, ok := reg.Manifest("a", "latest"); ok {
		t.Error("the manifest went out")
	}
}

func TestCopyWithSkopeo(t *testing.T) {
	env.Need(t, "skopeo")
	f, s, from := pullFrom(t)
	dir := t.TempDir()
	want := oci.FromBytes(f.files["manifests/latest"])
	mustCopy(t, s, "docker://"+from, "oci:"+dir+"/ours", CopyOptions{})
	out, err := exec.Command("skopeo", "copy", "oci:"+dir+"/ours", "dir:"+dir+"/theirs").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if body, err := os.ReadFile(filepath.Join(dir, "theirs/manifest.json")); err != nil || oci.FromBytes(body) != want {
		t.Errorf("skopeo reads another manifest: %v: %s", err, body)
	}
	reg := env.NewWritable(t)
	if got := mustCopy(t, s, "dir:"+dir+"/theirs", "docker://"+reg.Addr+"/a", CopyOptions{}); got != want {
		t.Errorf("what skopeo copied is %s, want %s", got, want)
	}
	// A name in a layout may be a tag alone.
	if out, err := exec.Command("skopeo", "copy", "dir:"+dir+"/theirs", "oci:"+dir+"/tagged:v7").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mustCopy(t, s, "oci:"+dir+"/tagged:v7", "tagged:v7", CopyOptions{})
	if img, err := s.Resolve("tagged:v7"); err != nil || read(t, img, "a") != "one" {
		t.Errorf("by its tag: %v", err)
	}
	_, err = s.Copy(t.Context(), "oci:"+dir+"/tagged:v8", "x", CopyOptions{})
	wantError(t, err, "no such image", "has v7")
}
