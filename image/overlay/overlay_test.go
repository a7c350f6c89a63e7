package overlay

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"loper.run/test/env"
)

// mounted makes an overlay of directories by the kernel, with redirects and
// files that are copied up without their bytes.
func mounted(t *testing.T, lower []string, upper string) string {
	t.Helper()
	env.NeedRoot(t)
	at, work := t.TempDir(), t.TempDir()
	slices.Reverse(lower)
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on,metacopy=on", strings.Join(lower, ":"), upper, work)
	slices.Reverse(lower)
	if err := unix.Mount("overlay", at, "overlay", 0, options); err != nil {
		t.Skipf("needs an overlay with redirect_dir and metacopy: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return at
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %s", info.ModTime().UnixNano(), data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			text += " " + target
		}
		all[path[len(dir):]] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// seen lists the same of a view.
func seen(t *testing.T, v *View, path string, all map[string]string) {
	t.Helper()
	names, err := v.Names(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		e, err := v.Step(name)
		if err != nil {
			continue
		}
		at := path + "/" + name
		mode := fs.FileMode(e.Stat.Mode & 0o777)
		switch {
		case e.Dir != nil:
			all[at] = (mode | fs.ModeDir).String()
			seen(t, e.Dir, at, all)
		case e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK:
			target, err := e.Readlink()
			if err != nil {
				t.Error(err)
			}
			all[at] = (mode | fs.ModeSymlink).String() + " " + target
		default:
			f, err := e.Open()
			if err != nil {
				t.Errorf("%s: %v", at, err)
				break
			}
			data, _ := io.ReadAll(f)
			f.Close()
			all[at] = fmt.Sprintf("%s %d %s", mode, e.Stat.Mtim.Nano(), data)
		}
		e.Close()
	}
}

func script(t *testing.T, dir string, steps ...string) {
	t.Helper()
	for _, step := range steps {
		w := strings.Fields(step)
		path := filepath.Join(dir, w[1])
		var err error
		switch w[0] {
		case "mkdir":
			err = os.MkdirAll(path, 0o755)
		case "write":
			if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
				err = os.WriteFile(path, []byte(w[2]), 0o644)
			}
		case "link":
			err = os.Symlink(w[2], path)
		case "mv":
			err = os.Rename(path, filepath.Join(dir, w[2]))
		case "rm":
			err = os.RemoveAll(path)
		case "chmod":
			err = os.Chmod(path, 0o700)
		}
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
	}
}

// A view shows what the kernel shows, also where directories were moved and
// where files have only got other attributes.
func TestLikeTheKernel(t *testing.T) {
	env.NeedRoot(t)
	low, mid, upper := t.TempDir(), t.TempDir(), t.TempDir()
	script(t, low, "write a/b/c/f low", "write a/b/g low", "write old/x 1", "write meta data", "write far/meta data2", "write gone/f x", "link l a/b", "write same/f s")
	script(t, mounted(t, []string{low}, mid), "mv a/b a/moved", "write a/moved/new n", "mv old/x old/y", "chmod meta", "rm gone", "mkdir gone", "write gone/other o")
	script(t, mounted(t, []string{low, mid}, upper), "mv a top", "write top/moved/c/h up", "mv far/meta near", "chmod near", "mv same other", "mkdir same", "mv top/moved deep", "chmod deep/c/f", "mv gone/other gone/again")
	at := mounted(t, []string{low, mid, upper}, t.TempDir())
	layers := []string{low, mid, upper}
	v, err := Open(layers)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	got := map[string]string{}
	seen(t, v, "", got)
	if diff := cmp.Diff(tree(t, at), got); diff != "" {
		t.Error(diff)
	}
	if e, err := v.Step("deep"); err != nil || !e.Redirected {
		t.Errorf("deep was moved: %+v, %v", e, err)
	}
	list, err := Diff(Comparison{Old: []string{low, mid}, New: layers})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range list {
		lines = append(lines, string(c.Kind)+c.Path)
	}
	if got := strings.Join(lines, " "); got != "D/a A/deep A/deep/c A/deep/c/f A/deep/c/h A/deep/g A/deep/new C/far D/far/meta C/gone A/gone/again D/gone/other A/near A/other A/other/f C/same D/same/f A/top" {
		t.Errorf("differences: %s", got)
	}
}

// What a layer says about where something is may lead nowhere but into layers.
func TestHostileRedirects(t *testing.T) {
	env.NeedRoot(t)
	outside := t.TempDir()
	script(t, outside, "write d/secret SECRET", "write f SECRET")
	for _, target := range []string{"../../../../../../.." + outside + "/d", "/..", "..", "a/b", "", "/", "//", "/./x", outside + "/d", "x\x00y"} {
		low, up := t.TempDir(), t.TempDir()
		script(t, low, "write d/mine m", "link x "+outside)
		script(t, up, "mkdir d", "write f data")
		for _, name := range []string{"d", "f"} {
			if err := unix.Setxattr(filepath.Join(up, name), "trusted.overlay.redirect", []byte(target), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Setxattr(filepath.Join(up, "f"), "trusted.overlay.metacopy", nil, 0); err != nil {
			t.Fatal(err)
		}
		v, err := Open([]string{low, up})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := v.Step("d"); err == nil {
			names, _ := e.Dir.Names(false)
			if slices.Contains(names, "secret") {
				t.Errorf("%q leads out", target)
			}
			e.Close()
		}
		if e, err := v.Step("f"); err == nil {
			if f, err := e.Open(); err == nil {
				data, _ := io.ReadAll(f)
				f.Close()
				if strings.Contains(string(data), "SECRET") {
					t.Errorf("%q leads out", target)
				}
			}
		}
		v.Close()
	}
}
