package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twoLayers are two trees with a file that is the same, one that differs in
// contents only, one that differs in mode only, and a small one.
func twoLayers(t *testing.T, dir string) {
	t.Helper()
	for _, l := range []string{"1", "2"} {
		at := filepath.Join(dir, "sha256", l, "diff", "d")
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, body := range map[string]string{"same": strings.Repeat("same", 5000), "other": strings.Repeat("x"+l, 10000), "mode": strings.Repeat("mode", 5000), "small": "small"} {
			if err := os.WriteFile(filepath.Join(at, name), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
			if name == "mode" && l == "2" {
				os.Chmod(filepath.Join(at, name), 0o4755)
			}
			if err := os.Chtimes(filepath.Join(at, name), time.Time{}, time.Unix(1000, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func links(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(st.Sys().(*syscall.Stat_t).Nlink)
}

// TestHardlinks makes files one only where nothing but the name differs, and
// leaves the trees as their records have them.
func TestHardlinks(t *testing.T) {
	dir := t.TempDir()
	twoLayers(t, dir)
	was := record(t, dir, false) + record(t, dir, true)
	if done, err := ShareFiles(open(t, dir), Share{Hardlink: true, Min: 4096, Skip: []string{"sha256/2"}}); err != nil || done.Files != 0 {
		t.Errorf("left alone: %+v, %v", done, err)
	}
	done, err := ShareFiles(open(t, dir), Share{Hardlink: true, Min: 4096})
	if err != nil || done != (Shared{Files: 1, Bytes: 20000}) {
		t.Errorf("%+v, %v", done, err)
	}
	for name, want := range map[string]uint64{"same": 2, "other": 1, "mode": 1, "small": 1} {
		if got := links(t, filepath.Join(dir, "sha256/1/diff/d", name)); got != want {
			t.Errorf("%s has %d names, want %d", name, got, want)
		}
	}
	// The directories above the trees are the store's own.
	top := func(s string) string {
		var lines []string
		for line := range strings.Lines(s) {
			if strings.Contains(line, "/diff") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	if is := record(t, dir, false) + record(t, dir, true); top(is) != top(was) {
		t.Errorf("was:\n%s\nis:\n%s", was, is)
	}
	if done, err := ShareFiles(open(t, dir), Share{Hardlink: true, Min: 4096}); err != nil || done.Files != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
}

// TestReflinks shares blocks on a file system that can.
func TestReflinks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	mkfs, err := exec.LookPath("mkfs.xfs")
	if err != nil {
		t.Skip("needs the program mkfs.xfs (package xfsprogs)")
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", "-m", "reflink=1", image).CombinedOutput(); err != nil {
		t.Skipf("needs a file system with reflinks: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		t.Skipf("needs XFS on a loop device: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	twoLayers(t, dir)
	unix.Sync()
	was, free := record(t, dir, true), freeBlocks(t, dir)
	done, err := ShareFiles(open(t, dir), Share{Min: 4096})
	if err != nil || done != (Shared{Files: 2, Bytes: 40000}) { // whatever the mode is
		t.Errorf("%+v, %v", done, err)
	}
	unix.Sync()
	if now := freeBlocks(t, dir); now <= free {
		t.Errorf("%d blocks were free, %d are", free, now)
	}
	if is := record(t, dir, true); is != was || links(t, filepath.Join(dir, "sha256/1/diff/d/same")) != 1 {
		t.Errorf("was:\n%s\nis:\n%s", was, is)
	}
}

func freeBlocks(t *testing.T, dir string) uint64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Bfree
}

// TestReflinksElsewhere says so where the file system can't.
func TestReflinksElsewhere(t *testing.T) {
	dir := t.TempDir()
	twoLayers(t, dir)
	if done, err := ShareFiles(open(t, dir), Share{Min: 4096}); err == nil && done.Files == 0 {
		t.Errorf("%+v, %v", done, err)
	}
}
