package layer

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRemoveTree(t *testing.T) {
	if os.Geteuid() == 0 {
		removeTree(t)
	}
}

func TestRemoveTreeAsUser(t *testing.T) {
	if asUser(t, false) {
		removeTree(t)
	}
}

func removeTree(t *testing.T) {
	base := t.TempDir()
	keep := filepath.Join(base, "keep")
	if err := os.MkdirAll(filepath.Join(keep, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// Deeper than a path can name, locked, with links out.
	if err := os.Mkdir(filepath.Join(base, "tree"), 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(filepath.Join(base, "tree"), unix.O_RDONLY, 0)
	for i := range 2500 {
		if err != nil {
			t.Fatal(err)
		}
		name := "d" + strconv.Itoa(i)
		if err := unix.Mkdirat(fd, name, 0o700); err != nil {
			t.Fatal(err)
		}
		unix.Symlinkat(keep, fd, "link")
		below, oerr := unix.Openat(fd, name, unix.O_RDONLY, 0)
		unix.Fchmod(fd, []uint32{0, 0o500, 0o300, 0o700}[i%4])
		unix.Close(fd)
		fd, err = below, oerr
	}
	unix.Close(fd)
	if err := RemoveTree(d, "tree"); err != nil {
		t.Fatal(err)
	}
	if names, _ := os.ReadDir(base); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
	if _, err := os.Stat(filepath.Join(keep, "x")); err != nil {
		t.Error(err)
	}
	if err := RemoveTree(d, "tree"); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	os.Symlink(keep, filepath.Join(base, "link"))
	if err := RemoveTree(d, "link"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", ".", "..", "keep/x", "/"} {
		if err := RemoveTree(d, name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
}
