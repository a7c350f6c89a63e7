package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

var epoch = time.Unix(1_700_000_000, 123_456_789)

// entry is a line of a test's table: a header whose missing fields are filled in, and contents.
type entry struct {
	tar.Header
	data string
}

func dirEntry(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}
func fileEntry(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}
func linkEntry(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}, ""}
}
func symlinkEntry(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}, ""}
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Size = int64(len(e.data))
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = tar.Header{Typeflag: h.Typeflag, PAXRecords: h.PAXRecords}
		} else if h.ModTime.IsZero() {
			h.ModTime = epoch
		}
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("header %q: %v", h.Name, err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// here is right for whoever runs the test.
func here() Options {
	if os.Geteuid() == 0 {
		return Options{}
	}
	return Options{SingleID: true, UserXattr: true}
}

// unpack unpacks into the new directory "root" below a new directory, which it returns.
func unpackTo(t testing.TB, stream []byte, o Options) (root string, res Result, err error) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	above, err := os.Open(filepath.Dir(root))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer above.Close()
		if err := RemoveTree(above, "root"); err != nil {
			t.Error(err)
		}
	})
	d, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	res, err = Unpack(context.Background(), d, bytes.NewReader(stream), o)
	return root, res, err
}

// tree describes everything below dir, a line a file, by path.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		s := fmt.Sprintf("%o %d:%d %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil && !os.IsPermission(err) {
				return err
			}
			s += fmt.Sprintf(" %d %x", st.Size, sha256.Sum256(data))
			if st.Nlink > 1 {
				if f, ok := first[st.Ino]; ok {
					s += " = " + f
				} else {
					first[st.Ino] = rel
				}
			}
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			s += " -> " + target
		case unix.S_IFCHR, unix.S_IFBLK:
			s += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		m[rel] = s + xattrs(path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func xattrs(path string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return ""
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	s := ""
	for _, name := range names {
		v := make([]byte, 64<<10)
		n, _ := unix.Lgetxattr(path, name, v)
		s += fmt.Sprintf(" %s=%q", name, v[:max(n, 0)])
	}
	return s
}

func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	bad := 0
	for path, w := range want {
		if g, ok := got[path]; !ok || g != w {
			if bad++; bad < 20 {
				t.Errorf("%s:\n got %s\nwant %s", path, g, w)
			}
		}
	}
	for path, g := range got {
		if _, ok := want[path]; !ok {
			if bad++; bad < 20 {
				t.Errorf("%s: unwanted: %s", path, g)
			}
		}
	}
}

// asUser runs the calling test again as an ordinary user, who has a range of
// ids when it needs one, and reports true in the process that shall go on.
func asUser(t *testing.T, ranges bool) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	u := env.Ordinary(t, ranges)
	dir, err := os.MkdirTemp("", "layer-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := u.Own(dir); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "USER="+u.Name)
	c.Dir = dir
	u.Command(c)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("as %s: %v\n%s", u.Name, err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Skipf("as %s:\n%s", u.Name, out)
	}
	return false
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners, devices and trusted attributes")
	}
}
