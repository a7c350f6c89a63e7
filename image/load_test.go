package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"loper.run/image/archive"
	"loper.run/image/oci"
)

// layout is an OCI layout in a tar, of what a fake registry has, with an index
// entry for each descriptor; names may be empty.
func (f *fake) layout(t testing.TB, names []string, targets ...oci.Descriptor) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name string, body []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		w.Write(body)
	}
	done := map[string]bool{}
	for path, body := range f.files {
		_, digest, ok := strings.Cut(path, "/")
		if d, err := oci.Parse(digest); ok && err == nil && !done[digest] {
			done[digest] = true
			put("blobs/sha256/"+d.Hex(), body)
		}
	}
	for i, name := range names {
		if name != "" {
			targets[i].Annotations = map[string]string{"io.containerd.image.name": name}
		}
	}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": targets})
	if err != nil {
		t.Fatal(err)
	}
	put("index.json", index)
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	w.Close()
	path := filepath.Join(t.TempDir(), "layout.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func loadFile(t testing.TB, s *Store, path string, o LoadOptions) ([]Loaded, error) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.OpenArchive(t.Context(), f)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return s.Load(t.Context(), a, o)
}

// saveFile saves images and returns the archive's path.
func saveFile(t testing.TB, s *Store, form archive.Form, platform string, names ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved")
	w, err := archive.Create(path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := s.Save(t.Context(), w, names, platform); err != nil {
		w.Abort()
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
			t.Errorf("a save that failed left %v", left)
		}
		return "", err
	}
	return path, w.Finish()
}

// An image goes through every form with its digest, its layers and its names.
func TestSaveAndLoad(t *testing.T) {
	f, s := newFake(t), open(t)
	d := f.image(t, "latest", oci.Host(), gz(t, "a", "one"), zst(t, "b", "two"), plain(t, "c", "three"), gz(t, "a", "one"))
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost/x:1", "localhost/x:2", "y"} {
		if err := s.Tag(f.name(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range []archive.Form{archive.DockerArchive, archive.OCIArchive, archive.OCIDir, archive.DockerDir} {
		path, err := saveFile(t, s, form, "", "localhost/x", "y:latest")
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		again := open(t)
		var loaded []Loaded
		if form.Dir() {
			a, err := archive.ReadDir(t.Context(), path)
			if err != nil {
				t.Errorf("%s: %v", form, err)
				continue
			}
			loaded, err = again.Load(t.Context(), a, LoadOptions{})
			a.Close()
			if err != nil {
				t.Errorf("%s: %v", form, err)
			}
		} else if loaded, err = loadFile(t, again, path, LoadOptions{}); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if len(loaded) != 1 || loaded[0].ID != img.ID {
			t.Errorf("%s: loaded %+v", form, loaded)
			continue
		}
		names := []string{"localhost/x:1", "localhost/x:2", "y:latest"}
		if form == archive.DockerDir {
			names = nil // it has room for none
		}
		if !slices.Equal(loaded[0].Names, names) {
			t.Errorf("%s: names %v", form, loaded[0].Names)
		}
		back, err := again.Resolve(img.ID.String())
		if err != nil || back.Manifest != d.Digest || read(t, back, "a")+read(t, back, "b")+read(t, back, "c") != "onetwothree" || !slices.Equal(back.Names, names) {
			t.Errorf("%s: %+v, %v", form, back, err)
		}
		list, err := again.List()
		if err != nil || len(list) != 1 {
			t.Errorf("%s: it lists %d images, %v", form, len(list), err)
		}
		// Nothing of it goes as long as the image stays.
		if err := again.collect(); err != nil {
			t.Error(err)
		}
		if _, err := saveFile(t, again, archive.OCIArchive, "", img.ID.String()); err != nil {
			t.Errorf("%s: saved again: %v", form, err)
		}
	}
}

func TestSaveIsReproducible(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "one"))
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		path, err := saveFile(t, s, archive.DockerArchive, "", f.name())
		if err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(path)
		if first != nil && !bytes.Equal(data, first) {
			t.Error("two archives of one image differ")
		}
		first = data
	}
}

// Of an index the platforms are saved that are here: all of them as the index,
// or one as itself.
func TestSaveAndLoadPlatforms(t *testing.T) {
	f, s := newFake(t), open(t)
	other, host := oci.Platform{OS: "linux", Architecture: "s390x"}, oci.Host()
	mine, theirs := f.image(t, "", host, gz(t, "a", "mine")), f.image(t, "", other, gz(t, "a", "theirs"))
	mine.Platform, theirs.Platform = &host, &other
	index := f.manifest(t, "latest", oci.TypeIndex, object{"schemaVersion": 2, "mediaType": oci.TypeIndex, "manifests": []any{theirs, mine}})
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	target := func(path string) oci.Digest {
		t.Helper()
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.OpenArchive(t.Context(), file)
		if err != nil || len(a.Images) != 1 {
			t.Fatalf("%+v, %v", a, err)
		}
		defer a.Close()
		return a.Images[0].Target.Digest
	}
	path, err := saveFile(t, s, archive.OCIArchive, "", f.name())
	if err != nil || target(path) != mine.Digest {
		t.Errorf("one of two platforms here: %v", err)
	}
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{Platform: "linux/s390x"}); err != nil {
		t.Fatal(err)
	}
	whole, err := saveFile(t, s, archive.OCIArchive, "", f.name())
	if err != nil || target(whole) != index.Digest {
		t.Errorf("both platforms here: %v", err)
	}
	if path, err = saveFile(t, s, archive.OCIArchive, "linux/s390x", f.name()); err != nil || target(path) != theirs.Digest {
		t.Errorf("one asked for: %v", err)
	}
	for platform, want := range map[string]string{"": "mine", "linux/s390x": "theirs"} {
		again := open(t)
		loaded, err := loadFile(t, again, whole, LoadOptions{Platform: platform})
		if err != nil || len(loaded) != 1 {
			t.Errorf("%q: %+v, %v", platform, loaded, err)
			continue
		}
		if img, err := again.Resolve(f.name()); err != nil || read(t, img, "a") != want {
			t.Errorf("%q: %v", platform, err)
		}
	}
	_, err = loadFile(t, open(t), whole, LoadOptions{Platform: "linux/riscv64"})
	wantError(t, err, "no image for the platform linux/riscv64", "linux/s390x")
	_, err = loadFile(t, open(t), path, LoadOptions{Platform: "linux/riscv64"})
	wantError(t, err, "the image is for linux/s390x, not for linux/riscv64")
	// The only one there is, is it.
	if loaded, err := loadFile(t, open(t), path, LoadOptions{}); err != nil || len(loaded) != 1 {
		t.Errorf("%+v, %v", loaded, err)
	}
}

// What is not what its digest says never gets into the store, and nothing of an
// archive that is bad is seen.
func TestLoadBadContent(t *testing.T) {
	good := gz(t, "a", noise(300_000))
	rotten := bytes.Clone(good.packed)
	rotten[1000] ^= 1
	for name, test := range map[string]struct {
		layer testLayer
		fault func(f *fake)
		words []string
	}{
		"wrong digest":   {good, func(f *fake) { f.files[blobOf(good)] = rotten }, []string{"digest mismatch"}},
		"wrong size":     {good, func(f *fake) { f.files[blobOf(good)] = append(bytes.Clone(good.packed), 'x') }, []string{"its descriptor says"}},
		"wrong diff id":  {testLayer{[]byte("something else"), good.packed, "+gzip"}, nil, []string{"diff_id", "digest mismatch"}},
		"no tar":         {testLayer{[]byte("not a tar"), []byte("not a tar"), ""}, nil, []string{"layer"}},
		"missing layer":  {good, func(f *fake) { delete(f.files, blobOf(good)) }, []string{"layer", "not exist"}},
		"outside":        {plain(t, "../../evil", "x"), nil, []string{"leads out of the layer"}},
		"truncated gzip": {testLayer{good.tar, good.packed[:len(good.packed)-1000], "+gzip"}, nil, []string{"layer"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := newFake(t), open(t)
			d := f.image(t, "latest", oci.Host(), gz(t, "other", "x"), test.layer)
			if test.fault != nil {
				test.fault(f)
			}
			_, err := loadFile(t, s, f.layout(t, []string{"localhost/bad:1"}, d), LoadOptions{})
			wantError(t, err, test.words...)
			wantNothing(t, s)
			if left, _ := os.ReadDir(filepath.Join(s.files.Root(), "staging")); len(left) > 0 {
				t.Errorf("staging has %v", left)
			}
		})
	}
	f, s := newFake(t), open(t)
	d := f.image(t, "latest", oci.Host(), good)
	_, err := loadFile(t, s, f.layout(t, []string{"no/Such/Name"}, d), LoadOptions{})
	wantError(t, err, "invalid image name")
	wantNothing(t, s)
}

// A layer that lost its packed form gets it again: one that was made here by
// packing it, one from elsewhere from there, as long as that is there.
func TestPackedLayerIsMadeAgain(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "foreign"))
	base, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Make(t.Context(), Recipe{Base: base.ID, Name: "made"}, func(w io.Writer) error {
		_, err := w.Write(ownTar(t, "dir/b", "ours"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.files.Image(id)
	if err != nil || len(rec.Packed) != 2 {
		t.Fatalf("%+v, %v", rec, err)
	}
	drop := func(i int) {
		t.Helper()
		if err := os.Remove(filepath.Join(s.files.Root(), "blob/sha256", rec.Packed[i].Hex())); err != nil {
			t.Fatal(err)
		}
	}
	drop(1)
	if _, err := saveFile(t, s, archive.OCIArchive, "", "made"); err != nil {
		t.Errorf("the layer that was made here: %v", err)
	}
	if !s.files.HasBlob(rec.Packed[1]) {
		t.Error("it is not kept")
	}
	drop(0)
	if _, err := saveFile(t, s, archive.OCIArchive, "", "made"); err != nil {
		t.Errorf("the layer that its registry has: %v", err)
	}
	drop(0)
	f.Close()
	_, err = saveFile(t, s, archive.OCIArchive, "", "made")
	wantError(t, err, rec.Packed[0].Short(), "again")
}

// ownTar is a tar as pack makes it.
func ownTar(t testing.TB, name, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{{Typeflag: tar.TypeDir, Name: filepath.Dir(name) + "/", Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()},
		{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body)), Uid: os.Getuid(), Gid: os.Getgid()}} {
		h.ModTime = time.Unix(5, 0)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(w, body)
	w.Close()
	return b.Bytes()
}

// The blobs of an archive are copied; an archive that changes while it is read
// can do no more than fail.
func TestLoadKeepsWhatWasChecked(t *testing.T) {
	f, s := newFake(t), open(t)
	l := gz(t, "a", noise(1_000_000))
	d := f.image(t, "latest", oci.Host(), l)
	path := f.layout(t, []string{"localhost/x:1"}, d)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.OpenArchive(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := s.Load(t.Context(), a, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(make([]byte, 500_000), 100_000); err != nil {
		t.Fatal(err)
	}
	if _, err := saveFile(t, s, archive.OCIArchive, "", "localhost/x:1"); err != nil {
		t.Errorf("the store changed with the archive: %v", err)
	}
}

func TestSaveRefuses(t *testing.T) {
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "x"))
	if _, err := s.Pull(t.Context(), f.name(), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := saveFile(t, s, archive.DockerArchive, "", "nope")
	wantError(t, err, "no such image", "nope")
	_, err = saveFile(t, s, archive.DockerArchive, "", Host)
	wantError(t, err, "built in")
	if err := s.Tag(f.name(), "localhost/two"); err != nil {
		t.Fatal(err)
	}
	rec, _ := s.files.Image(mustFind(t, s, f.name()))
	blob := filepath.Join(s.files.Root(), "blob/sha256", rec.Packed[0].Hex())
	data, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(blob, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = saveFile(t, s, archive.DockerArchive, "", f.name())
	wantError(t, err, "digest mismatch", fmt.Sprint(rec.Packed[0]))
}

func mustFind(t testing.TB, s *Store, name string) oci.Digest {
	t.Helper()
	img, err := s.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return img.ID
}
