package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	terminate = syscall.SIGTERM
	hangUp    = syscall.SIGHUP
)

func directorySize(t testing.TB, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// lineWith is the first line that contains part.
func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// writeFile writes a file that the engine's user owns.
func (e *engine) writeFile(path, body string, mode os.FileMode) {
	e.t.Helper()
	if err := os.WriteFile(path, []byte(body), mode); err != nil {
		e.t.Fatal(err)
	}
	os.Chmod(path, mode)
	if e.user != nil {
		e.user.Own(path)
	}
}

// directory makes a directory that the engine's user owns, outside of the engine's state.
func (e *engine) directory() string {
	e.t.Helper()
	dir, err := os.MkdirTemp("", "loper-shared-")
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	if e.user != nil {
		e.user.Own(dir)
	}
	return dir
}

func owner(t testing.TB, path string) (uid, gid int) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// blocks is what a tree really takes on the disk, in bytes.
func blocks(t testing.TB, dir string) (size int64) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil
	})
	return size
}
