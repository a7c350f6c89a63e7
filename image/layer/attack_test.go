package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// attacks are layers that try to reach what lies beside their directory. OUT
// stands for the absolute path of a directory outside. An error, when one is
// wanted, must hold the text.
func attacks() []struct {
	name    string
	want    string
	entries []entry
} {
	ch := func(name string) entry {
		return entry{tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: 0o666}, ""}
	}
	acl := func(e entry) entry {
		e.PAXRecords = map[string]string{"SCHILY.xattr.user.mark": "x"}
		e.Mode = 0o777
		return e
	}
	return []struct {
		name    string
		want    string
		entries []entry
	}{
		{"dot dot", "leads out", []entry{fileEntry("../out/secret", "x")}},
		{"dot dot inside", "leads out", []entry{fileEntry("a/../../out/secret", "x")}},
		{"dot dot alone", "leads out", []entry{dirEntry("..")}},
		{"absolute dot dot", "leads out", []entry{fileEntry("/../out/secret", "x")}},
		{"dot dot directory", "leads out", []entry{acl(dirEntry("../out"))}},
		{"absolute", "", []entry{fileEntry("OUT/secret", "x")}},
		{"absolute link, write through", "", []entry{dirEntry("OUT"), symlinkEntry("l", "OUT"), fileEntry("l/secret", "x")}},
		{"absolute link to nothing here, write through", "what the layer does not have", []entry{symlinkEntry("l", "OUT"), fileEntry("l/secret", "x")}},
		{"relative link, write through", "what the layer does not have", []entry{symlinkEntry("l", "../out"), fileEntry("l/secret", "x")}},
		{"deep relative link", "what the layer does not have", []entry{symlinkEntry("a/b/l", "../../../out"), fileEntry("a/b/l/secret", "x")}},
		{"link to slash", "", []entry{symlinkEntry("l", "/"), fileEntry("l/OUT/secret", "x")}},
		{"chain of links", "what the layer does not have", []entry{symlinkEntry("a", ".."), symlinkEntry("b", "a/../.."), symlinkEntry("c", "b/out"), fileEntry("c/secret", "x")}},
		{"loop", "too many levels", []entry{symlinkEntry("a", "b"), symlinkEntry("b", "a"), fileEntry("a/x", "x")}},
		{"file in the place of a link", "", []entry{symlinkEntry("l", "OUT/secret"), fileEntry("l", "x")}},
		{"directory in the place of a link", "", []entry{symlinkEntry("l", "OUT"), acl(dirEntry("l")), fileEntry("l/secret", "x")}},
		{"fifo in the place of a link", "", []entry{symlinkEntry("l", "OUT/secret"), ch("l")}},
		{"link in the place of a used directory", "what the layer does not have", []entry{fileEntry("d/x", "x"), symlinkEntry("d", "OUT"), fileEntry("d/secret", "x")}},
		{"link in the place of a parent's parent", "what the layer does not have", []entry{fileEntry("d/e/x", "x"), symlinkEntry("d", "OUT/.."), fileEntry("d/out/secret", "x")}},
		{"whiteout, then link", "what the layer does not have", []entry{fileEntry(".wh.d", ""), symlinkEntry("d", "OUT"), fileEntry("d/secret", "x")}},
		{"hard link to outside", "leads out", []entry{linkEntry("h", "../out/secret"), fileEntry("h", "x")}},
		{"hard link to an absolute path", "no such file", []entry{linkEntry("h", "OUT/secret")}},
		{"hard link through a link", "no such file", []entry{symlinkEntry("l", "OUT"), linkEntry("h", "l/secret")}},
		{"hard link to a link out", "", []entry{symlinkEntry("l", "OUT/secret"), linkEntry("h", "l"), fileEntry("h", "x")}},
		{"write through a hard link to a link", "what the layer does not have", []entry{symlinkEntry("l", "OUT"), linkEntry("h", "l"), fileEntry("h/secret", "x")}},
		{"hard link to itself", "", []entry{fileEntry("h", "x"), linkEntry("h", "h"), linkEntry("./h", "/h")}},
		{"hard link to the root", "hard link to", []entry{linkEntry("h", "/")}},
		{"hard link to nothing", "no such file", []entry{linkEntry("h", "nothing")}},
		{"hard link without target", "empty", []entry{linkEntry("h", "")}},
		{"link in the place of the root", "must be a directory", []entry{symlinkEntry("./", "OUT")}},
		{"file in the place of the root", "must be a directory", []entry{fileEntry(".", "x")}},
		{"whiteout of dot dot", "hides no name", []entry{fileEntry(".wh...", "")}},
		{"whiteout of dot", "hides no name", []entry{fileEntry(".wh..", "")}},
		{"whiteout of nothing", "hides no name", []entry{fileEntry("a/.wh.", "")}},
		{"whiteout through a link", "what the layer does not have", []entry{symlinkEntry("l", "OUT"), fileEntry("l/.wh.secret", "")}},
		{"whiteout of a link", "", []entry{symlinkEntry("l", "OUT"), fileEntry(".wh.l", "")}},
		{"opaque through a link", "what the layer does not have", []entry{symlinkEntry("l", "OUT"), fileEntry("l/.wh..wh..opq", "")}},
		{"below a file", "not a directory", []entry{fileEntry("f", "x"), fileEntry("f/x", "x")}},
		{"below a fifo", "not a directory", []entry{ch("f"), fileEntry("f/x", "x")}},
		{"owner that overflows", "is no id", []entry{{tar.Header{Typeflag: tar.TypeReg, Name: "x", Uid: 1 << 32}, ""}}},
		{"owner that is 'unchanged'", "is no id", []entry{{tar.Header{Typeflag: tar.TypeReg, Name: "x", Gid: 1<<32 - 1}, ""}}},
		{"unknown type", "unknown entry type", []entry{{tar.Header{Typeflag: 'Z', Name: "x"}, ""}}},
		{"device number", "is no device number", []entry{{tar.Header{Typeflag: tar.TypeBlock, Name: "x", Devmajor: 1 << 20}, ""}}},
		{"link that holds a newline", "", []entry{symlinkEntry("a\nb", "c\nd")}},
	}
}

func TestAttacks(t *testing.T) {
	if os.Geteuid() == 0 {
		testAttacks(t)
	}
}

func TestAttacksAsUser(t *testing.T) {
	if asUser(t, false) {
		testAttacks(t)
	}
}

func testAttacks(t *testing.T) {
	for _, a := range attacks() {
		base := t.TempDir()
		out := filepath.Join(base, "out")
		root := filepath.Join(base, "root")
		for _, d := range []string{out, root} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(out, "secret"), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range a.entries {
			e := &a.entries[i]
			e.Name = strings.ReplaceAll(e.Name, "OUT", out)
			e.Linkname = strings.ReplaceAll(e.Linkname, "OUT", out)
		}
		before := tree(t, out)
		d, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Unpack(context.Background(), d, bytes.NewReader(archive(t, a.entries...)), here())
		d.Close()
		switch {
		case a.want == "" && err != nil:
			t.Errorf("%s: %v", a.name, err)
		case a.want != "" && err == nil:
			t.Errorf("%s: no error, want %q", a.name, a.want)
		case a.want != "" && !strings.Contains(err.Error(), a.want):
			t.Errorf("%s: error %q, want %q", a.name, err, a.want)
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: more than one line: %q", a.name, err)
		}
		if after := tree(t, base); len(after) == 0 || after["out/secret"] != before["secret"] || after["out"] != before["."] {
			t.Errorf("%s: the outside has changed: %v", a.name, after)
		}
		if names, _ := os.ReadDir(base); len(names) != 2 {
			t.Errorf("%s: something new lies outside: %v", a.name, names)
		}
		if names, _ := os.ReadDir(out); len(names) != 1 {
			t.Errorf("%s: something new lies outside: %v", a.name, names)
		}
	}
}

// TestRace exchanges a directory of the layer with a link to the outside, over
// and over, while entries are made below it.
func TestRace(t *testing.T) {
	base := t.TempDir()
	root, out := filepath.Join(base, "root"), filepath.Join(base, "out")
	for _, d := range []string{root, out, filepath.Join(out, "b")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "f"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, filepath.Join(base, "evil")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, out)
	var entries []entry
	for range 50 {
		entries = append(entries, dirEntry("a"), fileEntry("a/f", "x"), linkEntry("a/h", "a/f"), symlinkEntry("a/s", "f"),
			dirEntry("a/b"), fileEntry("a/b/.wh..wh..opq", ""), fileEntry("a/b/c", "x"), fileEntry("a/.wh.b", ""), fileEntry("a", "x"))
	}
	stream := archive(t, entries...)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "a"), unix.AT_FDCWD, filepath.Join(base, "evil"), unix.RENAME_EXCHANGE)
			unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "a"), unix.AT_FDCWD, filepath.Join(base, "evil"), unix.RENAME_EXCHANGE)
		}
	})
	d, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	whole := 0
	for range 60 {
		if _, err := Unpack(context.Background(), d, bytes.NewReader(stream), here()); err == nil {
			whole++
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d of 60 runs saw no error", whole)
	sameTree(t, tree(t, out), before)
}

func TestBrokenStreams(t *testing.T) {
	stream := archive(t, fileEntry("a", strings.Repeat("a", 1000)), fileEntry("b", strings.Repeat("b", 5000)))
	for _, n := range []int{1, 511, 520, 2048 + 100, 3000, 4096 + 100, len(stream) - 3000} {
		if _, _, err := unpackTo(t, stream[:n], here()); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("cut at %d: error %v", n, err)
		}
	}
	bad := bytes.Clone(stream)
	bad[150] ^= 1
	if _, _, err := unpackTo(t, bad, here()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("bad checksum: error %v", err)
	}
	if _, _, err := unpackTo(t, nil, here()); err != nil {
		t.Errorf("empty stream: %v", err)
	}
}

// TestReadsToTheEnd guards the digest: a hash fed by the stream must have seen the padding.
func TestReadsToTheEnd(t *testing.T) {
	r := bytes.NewReader(append(archive(t, fileEntry("x", "x")), make([]byte, 1<<20)...))
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Unpack(context.Background(), d, r, here()); err != nil || r.Len() != 0 {
		t.Errorf("%d bytes are unread, error %v", r.Len(), err)
	}
}

func TestTooLargeForTheDisk(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 1 << 60, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	o := here()
	if _, _, err := unpackTo(t, b.Bytes(), o); err == nil || !strings.Contains(err.Error(), "hold more than") {
		t.Errorf("error %v", err)
	}
	o.Limits.Bytes = 1 << 62
	if _, _, err := unpackTo(t, b.Bytes(), o); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, full()...))
	for _, a := range attacks() {
		f.Add(archive(f, a.entries...))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		base := t.TempDir()
		root := filepath.Join(base, "root")
		if err := os.Mkdir(root, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, "secret"), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		above, err := os.Open(base)
		if err != nil {
			t.Fatal(err)
		}
		defer above.Close()
		d, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		o := here()
		o.Limits = Limits{Bytes: 1 << 20, Entries: 1000}
		before := tree(t, filepath.Join(base, "secret"))
		_, err = Unpack(context.Background(), d, bytes.NewReader(stream), o)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
		if err := RemoveTree(above, "root"); err != nil {
			t.Error(err)
		}
		sameTree(t, tree(t, filepath.Join(base, "secret")), before)
		if names, _ := os.ReadDir(base); len(names) != 1 {
			t.Errorf("left outside: %v", names)
		}
	})
}
