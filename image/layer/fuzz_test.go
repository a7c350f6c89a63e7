package layer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"loper.run/image/oci"
)

// FuzzDecompress gives any bytes as any kind of layer, and has what comes out
// unpacked: the whole way that foreign bytes go.
func FuzzDecompress(f *testing.F) {
	streams := [][]byte{archive(f, dirEntry("a"), fileEntry("a/.wh..wh..opq", ""), fileEntry("a/.wh.b", ""), fileEntry("a/c", "text")), make([]byte, 1<<20)}
	for _, a := range attacks() {
		streams = append(streams, archive(f, a.entries...))
	}
	for _, s := range streams {
		g := zipped(f, s)
		f.Add(g, uint8(gzipped))
		f.Add(zstded(f, s), uint8(zstandard))
		f.Add(s, uint8(plain))
		f.Add(append(bytes.Clone(g), g[:len(g)/2]...), uint8(sniff))
	}
	types := map[kind]string{plain: ociTar, gzipped: ociGzip, zstandard: ociZstd, sniff: ""}
	f.Fuzz(func(t *testing.T, packed []byte, k uint8) {
		base := t.TempDir()
		above, err := os.Open(base)
		if err != nil {
			t.Fatal(err)
		}
		defer above.Close()
		if err := os.Mkdir(filepath.Join(base, "root"), 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := os.Open(filepath.Join(base, "root"))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		tar, err := decompress(bytes.NewReader(packed), types[kind(k%4)], 1<<20, 100)
		if err == nil {
			o := here()
			o.Limits = Limits{Bytes: 1 << 20, Entries: 1000}
			if _, err = Unpack(t.Context(), d, tar, o); err == nil {
				_, err = io.Copy(io.Discard, tar)
			}
			tar.Close()
		}
		if err != nil && bytes.ContainsAny([]byte(err.Error()), "\n\x00") {
			t.Errorf("more than one line: %q", err)
		}
		if err := RemoveTree(above, "root"); err != nil {
			t.Error(err)
		}
		if names, _ := os.ReadDir(base); len(names) != 0 {
			t.Errorf("left: %v", names)
		}
	})
}

// FuzzReport hears any words of a worker, and makes what they ask for beside
// files that they may not touch.
func FuzzReport(f *testing.F) {
	for _, l := range lies {
		var w bytes.Buffer
		l.say(&w)
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, words []byte) {
		l := listener{most: Limits{}.or(), algorithm: oci.SHA256}
		if err := l.listen(bytes.NewReader(words)); err != nil {
			return
		}
		if l.out.Error == "" && l.out.Result.DiffID.IsZero() {
			t.Error("a success without a digest")
		}
		base := t.TempDir()
		root, secret := filepath.Join(base, "root"), filepath.Join(base, "secret")
		if err := errors.Join(os.MkdirAll(filepath.Join(root, "a", "b"), 0o700), os.WriteFile(secret, nil, 0o600), os.Symlink("..", filepath.Join(root, "out")), os.Symlink("a", filepath.Join(root, "link"))); err != nil {
			t.Fatal(err)
		}
		before := tree(t, secret)
		d, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		_ = apply(d, l.out.Special)
		sameTree(t, tree(t, secret), before)
		if names, _ := os.ReadDir(base); len(names) != 2 {
			t.Errorf("something new lies outside: %v", names)
		}
	})
}
