package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "a", "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digest(s string) oci.Digest { return oci.FromBytes([]byte(s)) }

// addLayer publishes a layer of one file.
func addLayer(t testing.TB, s *Store, name string) Layer {
	t.Helper()
	st, err := s.BeginLayer(context.Background(), digest(name))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	if err := os.WriteFile(filepath.Join(st.Dir.Name(), name), []byte(name), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := st.Commit(int64(len(name)), 1)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// addImage publishes an image of a layer, and gives it a name.
func addImage(t testing.TB, s *Store, name string, layers ...string) Image {
	t.Helper()
	config, manifest := []byte("config of "+name), []byte("manifest of "+name)
	img := Image{ID: oci.FromBytes(config), Manifest: oci.FromBytes(manifest), Created: time.Unix(1, 0).UTC()}
	for _, b := range [][]byte{config, manifest} {
		if err := s.PutBlob(oci.FromBytes(b), b); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range layers {
		if _, err := s.Layer(digest(l)); err != nil {
			addLayer(t, s, l)
		}
		img.Layers = append(img.Layers, digest(l))
	}
	if err := s.PutImage(img); err != nil {
		t.Fatal(err)
	}
	if err := s.SetName(Name{Name: name, Image: img.ID, Manifest: img.Manifest}); err != nil {
		t.Fatal(err)
	}
	return img
}

func files(t testing.TB, s *Store) (names []string) {
	t.Helper()
	err := filepath.WalkDir(s.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(s.root, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestOpenRefuses(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o720, 0o702} {
		dir := t.TempDir()
		os.Chmod(dir, mode)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "written by others") {
			t.Errorf("mode %o: error %v", mode, err)
		}
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	os.Mkdir(filepath.Join(dir, "store"), 0o700)
	os.Symlink("store", link)
	if _, err := Open(link); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a link: error %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "store"), 1234, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(filepath.Join(dir, "store")); err == nil || !strings.Contains(err.Error(), "belongs to user 1234") {
			t.Errorf("a foreign owner: error %v", err)
		}
	}
	s := open(t)
	for _, d := range []string{"", blobDir, stagingDir} {
		if st, err := os.Stat(s.path(d)); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%q: %v, %v", d, st.Mode(), err)
		}
	}
}

func TestBlobs(t *testing.T) {
	s := open(t)
	data := []byte("some manifest")
	d := oci.FromBytes(data)
	if _, err := s.Blob(d, 100); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	var mismatch *oci.MismatchError
	if err := s.PutBlob(d, []byte("other")); !errors.As(err, &mismatch) {
		t.Errorf("wrong contents: %v", err)
	}
	if err := s.PutBlob(oci.Digest{}, nil); err == nil {
		t.Error("a blob without digest was put")
	}
	for range 2 {
		if err := s.PutBlob(d, data); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Blob(d, int64(len(data))); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Blob(d, 3); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "larger than 3 bytes") {
		t.Errorf("too large: %v", err)
	}
	path := s.place(blobDir, d)
	for name, damage := range map[string]func() error{
		"truncated": func() error { return os.Truncate(path, 5) },
		"changed":   func() error { return os.WriteFile(path, []byte("sOme manifest"), 0o600) },
		"empty":     func() error { return os.Truncate(path, 0) },
		"fifo":      func() error { os.Remove(path); return unix.Mkfifo(path, 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Blob(d, 100); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.PutBlob(d, data); err != nil {
			t.Errorf("%s: not repaired: %v", name, err)
		}
		if _, err := s.Blob(d, 100); err != nil {
			t.Errorf("%s: not repaired: %v", name, err)
		}
	}
}

func TestLayers(t *testing.T) {
	s, ctx := open(t), context.Background()
	if _, err := s.Layer(digest("l")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	l := addLayer(t, s, "l")
	if got, err := s.Layer(digest("l")); err != nil || got != l || got.Size != 1 || got.Entries != 1 {
		t.Errorf("%+v, %v; want %+v", got, err, l)
	}
	if data, err := os.ReadFile(filepath.Join(l.Dir, "l")); string(data) != "l" {
		t.Error(string(data), err)
	}
	if _, err := s.BeginLayer(ctx, digest("l")); !errors.Is(err, ErrPresent) {
		t.Errorf("again: %v", err)
	}
	st, err := s.BeginLayer(ctx, digest("aborted"))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(st.Dir.Name(), "x"), nil, 0)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := s.BeginLayer(short, digest("aborted")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held: %v", err)
	}
	for range 2 {
		if err := st.Abort(); err != nil {
			t.Error(err)
		}
	}
	if _, err := st.Commit(0, 0); err == nil {
		t.Error("an aborted layer was published")
	}
	if names, _ := os.ReadDir(s.path(stagingDir)); len(names) != 0 {
		t.Errorf("left in staging: %v", names)
	}
}

// TestLayerOnce lets many begin the same layer: one unpacks, all others find it.
func TestLayerOnce(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, found := 0, 0
	for range 20 {
		wg.Go(func() {
			st, err := s.BeginLayer(context.Background(), digest("l"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrPresent):
				found++
			case err != nil:
				t.Error(err)
			default:
				made++
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				_, err := st.Commit(0, 0)
				mu.Lock()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if made != 1 || found != 19 {
		t.Errorf("%d made it, %d found it", made, found)
	}
	if names, _ := os.ReadDir(s.path(stagingDir)); len(names) != 0 {
		t.Errorf("left in staging: %v", names)
	}
}

// TestBrokenLayer checks that what is no whole layer is made anew.
func TestBrokenLayer(t *testing.T) {
	s := open(t)
	l := addLayer(t, s, "l")
	place := filepath.Dir(l.Dir)
	for name, damage := range map[string]func() error{
		"no record":        func() error { return os.Remove(filepath.Join(place, layerFile)) },
		"truncated record": func() error { return os.Truncate(filepath.Join(place, layerFile), 9) },
		"record of another": func() error {
			return os.WriteFile(filepath.Join(place, layerFile), []byte(`{"diffID":"`+digest("x").String()+`"}`), 0o600)
		},
		"no tree":   func() error { return os.RemoveAll(l.Dir) },
		"tree file": func() error { os.RemoveAll(l.Dir); return os.WriteFile(l.Dir, nil, 0) },
		"tree link": func() error { os.RemoveAll(l.Dir); return os.Symlink("/", l.Dir) },
		"only file": func() error { os.RemoveAll(place); return os.WriteFile(place, nil, 0) },
		"link":      func() error { os.RemoveAll(place); return os.Symlink("/", place) },
		"full":      func() error { return os.Rename(filepath.Join(place, layerFile), filepath.Join(place, "x")) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Layer(digest("l")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		addLayer(t, s, "l")
		if _, err := s.Layer(digest("l")); err != nil {
			t.Errorf("%s: not repaired: %v", name, err)
		}
	}
}

func TestImagesAndNames(t *testing.T) {
	s, ctx := open(t), context.Background()
	a := addImage(t, s, "docker.io/library/a:latest", "base", "a")
	b := addImage(t, s, "localhost:5000/b@"+digest("m").String(), "base", "b")
	long := "docker.io/" + strings.Repeat("x/", 120) + "y:z"
	if err := s.SetName(Name{Name: long, Image: a.ID}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Name(long); err != nil || n.Image != a.ID {
		t.Error(n, err)
	}
	if err := s.SetName(Name{Name: "x", Image: digest("no image")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("name of nothing: %v", err)
	}
	if err := s.PutImage(Image{ID: digest("no blob"), Manifest: a.Manifest}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("image without blobs: %v", err)
	}
	if err := s.PutImage(Image{ID: a.ID, Manifest: a.Manifest, Layers: []oci.Digest{digest("no layer")}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("image without layers: %v", err)
	}
	names, err := s.Names()
	if err != nil || len(names) != 3 || names[0].Name != "docker.io/library/a:latest" {
		t.Errorf("%v, %v", names, err)
	}
	if images, err := s.Images(); err != nil || len(images) != 2 {
		t.Errorf("%v, %v", images, err)
	}
	if ids, err := s.FindImages(b.ID.Hex()[:10]); err != nil || len(ids) != 1 || ids[0] != b.ID {
		t.Errorf("%v, %v", ids, err)
	}
	// Taking a name away.
	if err := s.SetName(Name{Name: "docker.io/library/a:latest", Image: b.ID}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Name("docker.io/library/a:latest"); err != nil || n.Image != b.ID {
		t.Error(n, err)
	}
	if err := s.DeleteName("no such"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// Deleting waits for who needs it.
	unlock, err := s.LockImage(b.ID)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := s.DeleteImage(short, b.ID, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a locked image was deleted: %v", err)
	}
	done := make(chan error)
	go func() { done <- s.DeleteImage(ctx, b.ID, nil) }()
	time.Sleep(10 * time.Millisecond)
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	refused := errors.New("in use")
	if err := s.DeleteImage(ctx, a.ID, func() error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if _, err := s.LockImage(b.ID); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if names, _ := s.Names(); len(names) != 1 || names[0].Name != long {
		t.Errorf("names left: %v", names)
	}
}

func TestFileNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a/b", "a%2Fb", "a%b", ".", "..", "../x", ".a", "a\x00", "a\n", "A", "a", strings.Repeat("l", 200), strings.Repeat("l", 201), strings.Repeat("/", 80), "ü"} {
		f := fileName(name)
		if len(f) > 200 || f[0] == '.' || strings.ContainsAny(f, "/\x00\n") {
			t.Errorf("%q has the file %q", name, f)
		}
		if old, ok := seen[f]; ok {
			t.Errorf("%q and %q share the file %q", old, name, f)
		}
		seen[f] = name
	}
}

func TestCollect(t *testing.T) {
	s, ctx := open(t), context.Background()
	addImage(t, s, "a", "base", "a")
	b := addImage(t, s, "b", "base", "b")
	before := files(t, s)
	if f, err := s.Collect(ctx); err != nil || f != (Freed{}) {
		t.Errorf("freed %+v, %v", f, err)
	}
	release, err := s.Use(ctx)
	if err != nil {
		t.Fatal(err)
	}
	addLayer(t, s, "loose")
	s.PutBlob(digest("loose blob"), []byte("loose blob"))
	if _, err := s.Collect(ctx); !errors.Is(err, ErrBusy) {
		t.Errorf("collected what a pull relies on: %v", err)
	}
	release()

	// Staging that is held, that is not; downloads old and new; foreign files.
	held, err := s.BeginLayer(ctx, digest("held"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Abort()
	stale, err := s.BeginLayer(ctx, digest("stale"))
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(stale.Dir.Name(), "d"), 0)
	stale.close()
	for name, age := range map[string]time.Duration{"old": PartialKeep + time.Hour, "new": time.Hour} {
		p, err := s.Partial(ctx, digest(name))
		if err != nil {
			t.Fatal(err)
		}
		keep(t, p, "12345", 0)
		p.Close()
		os.Chtimes(p.path, time.Time{}, time.Now().Add(-age))
	}
	for _, f := range []string{"README", "blob/sha256/README", "layer/sha256/.x", "image/notes", "layer/sha256/" + strings.Repeat("G", 64)} {
		if err := os.WriteFile(s.path(f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tmp := s.path(nameDir, ".a.1234")
	os.WriteFile(tmp, nil, 0o600)
	os.Chtimes(tmp, time.Time{}, time.Now().Add(-2*tempKeep))

	if err := s.DeleteImage(ctx, b.ID, nil); err != nil {
		t.Fatal(err)
	}
	f, err := s.Collect(ctx)
	// Layers b and loose; the two blobs of b and the loose one; stale; old.
	want := Freed{Layers: 2, Blobs: 3, Staging: 1, Partials: 1, Bytes: 1 + 5 + int64(len("config of bmanifest of bloose blob")) + 5}
	if err != nil || f != want {
		t.Errorf("freed %+v, %v; want %+v", f, err, want)
	}
	if _, err := os.Stat(held.Dir.Name()); err != nil {
		t.Errorf("staging that is held: %v", err)
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("an old temporary file: %v", err)
	}
	held.Abort()
	// All that is left of what was added: 5 foreign files, a download with its
	// notes, the lock; b's layer, record, name and blobs are gone.
	if after := files(t, s); len(after) != len(before)+8-7 {
		t.Errorf("before: %q\nafter: %q", before, after)
	}
}

func BenchmarkList(b *testing.B) {
	s := open(b)
	base := addImage(b, s, "base", "base")
	for i := range 1000 {
		if err := s.SetName(Name{Name: fmt.Sprintf("docker.io/library/image%d:latest", i), Image: base.ID}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if names, err := s.Names(); err != nil || len(names) != 1001 {
			b.Fatal(len(names), err)
		}
	}
}
