package container

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func itoa(n uintptr) string { return strconv.Itoa(int(n)) }

// list describes what is below dir.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("%v %d:%d", d.Type()|fs.FileMode(st.Mode&0o7777), st.Uid, st.Gid)
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		case d.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			text += " " + target
		}
		got[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of several owners")
	}
	low := plant(t, t.TempDir(), map[string]string{"data/a": "low", "data/gone": "x", "data/sub/old": "old", "data/hid/x": "x", "data/fifo": "fifo", "link": "->/data/../data"})
	top := plant(t, t.TempDir(), map[string]string{"data/a": "top", "data/gone": "whiteout", "data/sub/new": "new", "data/hid/": "opaque", "data/out": "->/etc/shadow"})
	for path, owner := range map[string]int{"data": 5, "data/a": 6, "data/out": 7} {
		if err := os.Lchown(filepath.Join(top, path), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(top, "data"), 0o750)
	os.Chmod(filepath.Join(top, "data/a"), 0o4711|os.ModeSetuid)
	if err := os.Link(filepath.Join(low, "data/sub/old"), filepath.Join(low, "data/zz")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(top, "data/a"), "user.mark", []byte("m"), 0); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "-rwxr-x--- 5:5", "a": "-rwx--x--x 6:6 top", "fifo": "prw-r--r-- 0:0", "hid": "-rwxr-xr-x 0:0", "out": "Lrwxrwxrwx 7:7 /etc/shadow",
		"sub": "-rwxr-xr-x 0:0", "sub/new": "-rw-r--r-- 0:0 new", "sub/old": "-rw-r--r-- 0:0 old", "zz": "-rw-r--r-- 0:0 old",
	}
	for _, target := range []string{"/data", "/link"} {
		dst := t.TempDir()
		fill(t, []string{low, top}, target, dst)
		got := list(t, dst)
		for name, text := range got {
			got[name] = strings.Replace(text, "drwx", "-rwx", 1)
		}
		got["a"] = strings.Replace(got["a"], "-rws", "-rwx", 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", target, diff)
		}
		var a, b unix.Stat_t
		unix.Lstat(filepath.Join(dst, "sub/old"), &a)
		unix.Lstat(filepath.Join(dst, "zz"), &b)
		if a.Ino != b.Ino || a.Nlink != 2 {
			t.Error("the hard link was not kept")
		}
		value := make([]byte, 8)
		if n, err := unix.Getxattr(filepath.Join(dst, "a"), "user.mark", value); err != nil || string(value[:n]) != "m" {
			t.Errorf("extended attribute: %q, %v", value[:max(n, 0)], err)
		}
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dst, "a"), &st); st.Mode&0o7777 != 0o4711 {
			t.Errorf("mode %o", st.Mode)
		}
	}
}

func fill(t *testing.T, layers []string, target, dst string) {
	t.Helper()
	d, err := os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := fillFrom(layers, target, d); err != nil {
		t.Fatal(err)
	}
}

// What is copied into a volume is the image's, whatever its links say.
func TestFillStaysInside(t *testing.T) {
	secret := plant(t, t.TempDir(), map[string]string{"key": "secret"})
	for name, layer := range map[string]map[string]string{
		"target is a link":    {"data": "->" + secret},
		"link above":          {"data": "->../../../../../../.." + secret},
		"parent is a link":    {"a": "->" + filepath.Dir(secret), "x": ""},
		"target is a file":    {"data": "text"},
		"target is not there": {"other": ""},
		"link to proc":        {"data": "->/proc/self/root" + secret},
		"a directory in one and a link in another layer": {"data/": ""},
	} {
		layers := []string{plant(t, t.TempDir(), layer)}
		if strings.Contains(name, "another") {
			layers = append([]string{plant(t, t.TempDir(), map[string]string{"data": "->" + secret})}, layers...)
		}
		for _, target := range []string{"/data", "/a/" + filepath.Base(secret)} {
			dst := t.TempDir()
			fill(t, layers, target, dst)
			if got := list(t, dst); len(got) != 1 {
				t.Errorf("%s: copied %v", name, got)
			}
		}
	}
}
