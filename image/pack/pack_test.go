package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/image/layer"
	"loper.run/test/env"
)

func packed(t testing.TB, o Options, layers ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(t.Context(), &b, layers, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(t testing.TB, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := layer.Unpack(t.Context(), d, bytes.NewReader(data), layer.Options{SingleID: os.Geteuid() != 0}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// thing is an object of a tree to be made.
type thing struct {
	kind    byte // as in tar
	mode    uint32
	uid     int
	text    string // content, or target
	seconds int64
	xattrs  map[string]string
	holes   []int64 // where a page with text is, in a file of size
	size    int64
}

// plant makes a tree, names in the order given.
func plant(t testing.TB, dir string, names []string, tree map[string]thing) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		switch o := tree[name]; o.kind {
		case tar.TypeDir:
			must(os.MkdirAll(path, 0o755))
		case tar.TypeReg:
			f, err := os.Create(path)
			must(err)
			if o.size > 0 {
				must(f.Truncate(o.size))
				for _, at := range o.holes {
					_, err := f.WriteAt([]byte(o.text), at)
					must(err)
				}
			} else {
				_, err = f.WriteString(o.text)
				must(err)
			}
			must(f.Close())
		case tar.TypeSymlink:
			must(os.Symlink(o.text, path))
		case tar.TypeFifo:
			must(unix.Mkfifo(path, 0o600))
		case tar.TypeChar:
			must(unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		case tar.TypeLink:
			must(os.Link(filepath.Join(dir, o.text), path))
		}
	}
	// Attributes last, and those of directories after what is in them.
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(tree))) {
		path, o := filepath.Join(dir, name), tree[name]
		if o.kind == tar.TypeLink {
			continue
		}
		if os.Geteuid() == 0 {
			must(os.Lchown(path, o.uid, o.uid))
		}
		if o.kind != tar.TypeSymlink {
			for key, value := range o.xattrs {
				must(unix.Setxattr(path, key, []byte(value), 0))
			}
			must(unix.Chmod(path, o.mode))
		}
		ts := []unix.Timespec{{Sec: o.seconds}, {Sec: o.seconds}}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// sample is a tree with one of each kind.
func sample() map[string]thing {
	long := strings.Repeat("long", 30)
	tree := map[string]thing{
		"bin":                    {kind: tar.TypeDir, mode: 0o755, seconds: 5},
		"bin/tool":               {kind: tar.TypeReg, mode: 0o4755, text: "program", seconds: 6, xattrs: map[string]string{"user.a": "b", "user.z": "\x00\n=y"}},
		"bin/again":              {kind: tar.TypeLink, text: "bin/tool"},
		"a":                      {kind: tar.TypeReg, mode: 0o600, uid: 1000, text: "x", seconds: 1_700_000_000},
		"a.b":                    {kind: tar.TypeDir, mode: 0o1777, uid: 3_000_000, seconds: 9},
		"a.b/empty":              {kind: tar.TypeReg, mode: 0o400, seconds: 0},
		"link":                   {kind: tar.TypeSymlink, text: "../somewhere", seconds: 3},
		"abs":                    {kind: tar.TypeSymlink, text: "/etc/passwd", uid: 12, seconds: 3},
		"fifo":                   {kind: tar.TypeFifo, mode: 0o640, seconds: 2},
		"\xff no utf-8 \n":       {kind: tar.TypeReg, mode: 0o644, text: "y", seconds: 7},
		"ü/" + long + "/" + long: {kind: tar.TypeReg, mode: 0o644, text: "deep", seconds: 8},
		"ü":                      {kind: tar.TypeDir, mode: 0o755, seconds: 8},
		"ü/" + long:              {kind: tar.TypeDir, mode: 0o700, seconds: 8, xattrs: map[string]string{"user.dir": "1"}},
		"old":                    {kind: tar.TypeReg, mode: 0o644, text: "before 1970", seconds: -1000},
		"sparse":                 {kind: tar.TypeReg, mode: 0o644, text: "data", seconds: 4, size: 5 << 20, holes: []int64{0, 1 << 20, 3<<20 + 12345}},
		"sparse end":             {kind: tar.TypeReg, mode: 0o644, text: "data", seconds: 4, size: 4<<20 + 1, holes: []int64{4<<20 - 3}, xattrs: map[string]string{"user.s": "t"}},
		"all hole":               {kind: tar.TypeReg, mode: 0o644, seconds: 4, size: 3 << 20},
		"dense":                  {kind: tar.TypeReg, mode: 0o644, seconds: 4, text: strings.Repeat("0123456789abcdef", 200_000)},
	}
	if os.Geteuid() == 0 {
		tree["a.b/secret"] = thing{kind: tar.TypeReg, mode: 0, text: "s", seconds: 1}
		tree["null"] = thing{kind: tar.TypeChar, mode: 0o666, seconds: 1}
		tree["capable"] = thing{kind: tar.TypeReg, mode: 0o755, text: "p", seconds: 1, xattrs: map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}
	}
	return tree
}

func names(tree map[string]thing) []string {
	all := slices.Sorted(maps.Keys(tree))
	slices.SortStableFunc(all, func(a, b string) int { // links come after what they link to
		return b2i(tree[a].kind == tar.TypeLink) - b2i(tree[b].kind == tar.TypeLink)
	})
	return all
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// describe lists a tree with all that packing must keep.
func describe(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if name == "." {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("%o %d:%d t=%d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %s sparse=%v", len(data), env.Digest(data)[:20], len(data) > 1<<20 && st.Blocks*512 < int64(len(data))/2)
			if first := inodes[st.Ino]; first != "" {
				text += " is " + first
			}
			inodes[st.Ino] = name
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			text += " -> " + target
		case unix.S_IFCHR:
			text += fmt.Sprintf(" dev=%d", st.Rdev)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG || st.Mode&unix.S_IFMT == unix.S_IFDIR {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			list, err := listXattrs(int(f.Fd()))
			if err != nil {
				return err
			}
			for _, key := range list {
				value := make([]byte, 1000)
				n, _ := unix.Fgetxattr(int(f.Fd()), key, value)
				text += fmt.Sprintf(" %s=%x", key, value[:n])
			}
		}
		all[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What was packed comes back as it was, by our own unpacker and by GNU tar.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	tree := sample()
	plant(t, dir, names(tree), tree)
	data := packed(t, Options{}, dir)
	want := describe(t, dir)
	if diff := cmp.Diff(want, describe(t, unpack(t, data))); diff != "" {
		t.Errorf("unpacked: %s", diff)
	}
	if again := packed(t, Options{}, unpack(t, data)); !bytes.Equal(again, data) {
		t.Error("packed again, it is something else")
	}
}

// The same files make the same bytes, in whatever order they were made and on
// whatever file system they are.
func TestReproducible(t *testing.T) {
	tree := sample()
	order := names(tree)
	first := ""
	places := []string{t.TempDir(), t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "loper-pack-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		places = append(places, dir)
		for name, o := range tree { // not every tmpfs has user attributes
			for key := range o.xattrs {
				if probe := filepath.Join(dir, "probe"); os.WriteFile(probe, nil, 0o600) == nil && unix.Setxattr(probe, key, []byte("x"), 0) != nil {
					o.xattrs = nil
					tree[name] = o
					break
				}
			}
		}
		os.Remove(filepath.Join(dir, "probe"))
	}
	for i, dir := range places {
		links := slices.IndexFunc(order, func(name string) bool { return tree[name].kind == tar.TypeLink })
		rand.New(rand.NewPCG(1, uint64(i))).Shuffle(links, func(i, j int) { order[i], order[j] = order[j], order[i] })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		plant(t, dir, order, tree)
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(i + 1))
		var b bytes.Buffer
		z := NewGzip(&b)
		if err := errors.Join(Write(t.Context(), z, []string{dir}, Options{}), z.Close()); err != nil {
			t.Fatal(err)
		}
		if got := env.Digest(b.Bytes()); first == "" {
			first = got
		} else if got != first {
			t.Errorf("%s: another digest", dir)
		}
	}
}

// An upper directory becomes a layer that does the same to another place's
// lower layers.
func TestChanges(t *testing.T) {
	env.NeedRoot(t)
	lower, upper := t.TempDir(), t.TempDir()
	dir, file := thing{kind: tar.TypeDir, mode: 0o755}, thing{kind: tar.TypeReg, mode: 0o644, text: "x"}
	low := map[string]thing{"etc": dir, "etc/passwd": file, "etc/gone": file, "var": dir, "var/log": dir, "var/log/a": file, "covered": dir, "covered/old": file, "moved": dir, "moved/sub": dir, "moved/sub/f": file, "touched": dir}
	plant(t, lower, names(low), low)
	owned := thing{kind: tar.TypeReg, mode: 0o644, uid: 100_000 + 33, text: "new"}
	up := map[string]thing{
		"etc": {kind: tar.TypeDir, mode: 0o755, uid: 100_000}, "etc/new": owned, "covered": {kind: tar.TypeDir, mode: 0o755, uid: 100_000}, "covered/new": owned,
		"elsewhere": {kind: tar.TypeDir, mode: 0o700, uid: 100_000}, "touched": {kind: tar.TypeDir, mode: 0o755, uid: 100_000, seconds: 99},
		"proc": {kind: tar.TypeDir, mode: 0o755, uid: 100_000}, "stranger": {kind: tar.TypeReg, mode: 0o644, uid: 7},
		"etc/hosts": {kind: tar.TypeReg, mode: 0o644, uid: 100_000},
	}
	plant(t, upper, names(up), up)
	if err := errors.Join(unix.Mknod(filepath.Join(upper, "etc/gone"), unix.S_IFCHR, 0),
		unix.Setxattr(filepath.Join(upper, "covered"), "trusted.overlay.opaque", []byte("y"), 0),
		unix.Setxattr(filepath.Join(upper, "elsewhere"), "trusted.overlay.redirect", []byte("/moved"), 0),
		unix.Mknod(filepath.Join(upper, "moved"), unix.S_IFCHR, 0),
		os.Chown(upper, 100_000, 100_000), os.Chmod(upper, 0o755), os.Chmod(lower, 0o755)); err != nil {
		t.Fatal(err)
	}
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100_000, Size: 65536}}
	o := Options{Changes: true, UIDs: ids, GIDs: ids, Skip: []string{"proc", "etc/hosts"}}
	var got []string
	r := tar.NewReader(bytes.NewReader(packed(t, o, lower, upper)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Uid))
	}
	want := []string{
		"covered/ 755 0", "covered/.wh..wh..opq 0 0", "covered/new 644 33",
		"elsewhere/ 700 0", "elsewhere/.wh..wh..opq 0 0", "elsewhere/sub/ 755 0", "elsewhere/sub/f 644 0",
		"etc/ 755 0", "etc/.wh.gone 0 0", "etc/new 644 33", ".wh.moved 0 0", "stranger 644 65534",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// All of it together.
	whole := describe(t, unpack(t, packed(t, Options{UIDs: ids, GIDs: ids}, lower, upper)))
	paths := slices.Sorted(maps.Keys(whole))
	if got := strings.Join(paths, " "); got != "covered covered/new elsewhere elsewhere/sub elsewhere/sub/f etc etc/hosts etc/new etc/passwd proc stranger touched var var/log var/log/a" {
		t.Errorf("the whole tree: %s", got)
	}
	if !strings.Contains(whole["etc/new"], " 33:33 ") || !strings.Contains(whole["etc/passwd"], " 0:0 ") {
		t.Errorf("owners: %q, %q", whole["etc/new"], whole["etc/passwd"])
	}
}

// A file must not pass as a whiteout when somebody else unpacks the layer.
func TestNoFalseWhiteouts(t *testing.T) {
	upper := t.TempDir()
	if err := os.WriteFile(filepath.Join(upper, ".wh.passwd"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), io.Discard, []string{t.TempDir(), upper}, Options{Changes: true}); err == nil || !strings.Contains(err.Error(), "no layer can have") {
		t.Errorf("it is packed: %v", err)
	}
}

func TestLatest(t *testing.T) {
	dir := t.TempDir()
	tree := map[string]thing{"new": {kind: tar.TypeReg, mode: 0o600, seconds: 2_000_000_000}, "old": {kind: tar.TypeReg, mode: 0o600, seconds: 5}}
	plant(t, dir, names(tree), tree)
	latest := time.Unix(1_000_000_000, 0)
	got := describe(t, unpack(t, packed(t, Options{Latest: &latest}, dir)))
	if !strings.Contains(got["new"], "t=1000000000") || !strings.Contains(got["old"], "t=5 ") {
		t.Errorf("times %v", got)
	}
}

// While somebody changes a directory into a link to elsewhere again and again,
// nothing from elsewhere is packed.
func TestRace(t *testing.T) {
	dir, secret := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/f"), []byte("mine"), 0o644),
		os.WriteFile(filepath.Join(secret, "f"), []byte("SECRET"), 0o644)); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e"))
			os.Symlink(secret, filepath.Join(dir, "d"))
			os.Remove(filepath.Join(dir, "d"))
			os.Rename(filepath.Join(dir, "e"), filepath.Join(dir, "d"))
		}
	}()
	defer func() {
		close(stop)
		<-ended
	}()
	for range 300 {
		var b bytes.Buffer
		if err := Write(t.Context(), &b, []string{dir}, Options{}); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b.Bytes(), []byte("SECRET")) {
			t.Fatal("a file from elsewhere is packed")
		}
	}
}

func TestGzip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, gzipBlock - 1, gzipBlock, gzipBlock + 1, 5*gzipBlock + 777} {
		data := make([]byte, size)
		for i := range data {
			data[i] = "loper"[r.IntN(5)]
		}
		var b bytes.Buffer
		z := NewGzip(&b)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(300_000))
			z.Write(rest[:n])
			rest = rest[n:]
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		u, err := gzip.NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(u); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
		}
	}
	z := NewGzip(failing{})
	z.Write(make([]byte, 4*gzipBlock))
	if err := z.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("an error of the writer: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
