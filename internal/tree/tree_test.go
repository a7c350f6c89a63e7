package tree

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func record(t *testing.T, dir string, contents bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := Record(open(t, dir), &b, contents); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// sample makes a tree with one of each kind.
func sample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"a", "a.b", "a/b", "empty"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"a/file", "a/b/file", "a.b/x", "a b", "q\"\n\x80", "zz"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("content of "+f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("a b=c", filepath.Join(dir, "link")), os.Link(filepath.Join(dir, "zz"), filepath.Join(dir, "hard")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func differences(t *testing.T, was, is string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := Diff(strings.NewReader(was), strings.NewReader(is), func(d Difference) bool { all[d.Path] = d.What; return true })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDiffNamesWhatChanged damages a tree in each way that a power cut or a
// hand may, and wants just that to be told.
func TestDiffNamesWhatChanged(t *testing.T) {
	old := time.Unix(1000, 5)
	for name, c := range map[string]struct {
		damage   func(dir string) error
		contents bool
		want     map[string]string
	}{
		"nothing":   {func(string) error { return nil }, true, map[string]string{}},
		"truncated": {func(d string) error { return os.Truncate(d+"/a/file", 0) }, false, map[string]string{"a/file": "size 0, recorded 17"}},
		"contents": {func(d string) error {
			return errors.Join(os.WriteFile(d+"/a/file", []byte("CONTENT of a/file"), 0o644), os.Chtimes(d+"/a/file", old, old))
		}, true, map[string]string{"a/file": "contents differ"}},
		"missing": {func(d string) error { return errors.Join(os.Remove(d+"/a.b/x"), os.Chtimes(d+"/a.b", old, old)) }, false, map[string]string{"a.b/x": "missing"}},
		"added": {func(d string) error {
			return errors.Join(os.WriteFile(d+"/empty/n", nil, 0o600), os.Chtimes(d+"/empty", old, old))
		}, false, map[string]string{"empty/n": "not recorded"}},
		"mode": {func(d string) error { return os.Chmod(d+"/zz", 0o600) }, false, map[string]string{"zz": "mode 100600, recorded 100644", "hard": "mode 100600, recorded 100644"}},
		"time": {func(d string) error { return os.Chtimes(d+"/a b", old, time.Unix(7, 0)) }, false, map[string]string{"a b": "time 7.0, recorded 1000.5"}},
		"type": {func(d string) error {
			return errors.Join(os.Remove(d+"/fifo"), os.WriteFile(d+"/fifo", nil, 0o600), os.Chtimes(d+"/fifo", old, old))
		}, false, map[string]string{"fifo": "mode 100600, recorded 10600"}},
		"target": {func(d string) error {
			ts := []unix.Timespec{{Sec: 1000, Nsec: 5}, {Sec: 1000, Nsec: 5}}
			return errors.Join(os.Remove(d+"/link"), os.Symlink("other", d+"/link"), unix.UtimesNanoAt(unix.AT_FDCWD, d+"/link", ts, unix.AT_SYMLINK_NOFOLLOW))
		}, false, map[string]string{"link": `target "other", recorded "a b=c"`}},
	} {
		dir := sample(t)
		ts := []unix.Timespec{{Sec: 1000, Nsec: 5}, {Sec: 1000, Nsec: 5}}
		filepath.Walk(dir, func(p string, _ os.FileInfo, _ error) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW)
		})
		was := record(t, dir, c.contents)
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		got := differences(t, was, record(t, dir, c.contents))
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOwnersAndAttributes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := sample(t)
	was := record(t, dir, false)
	if err := os.Chown(dir+"/a b", 5, 6); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lsetxattr(dir+"/a", "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	got := differences(t, was, record(t, dir, false))
	want := map[string]string{"a b": "owner 5, recorded 0; group 6, recorded 0", "a": "extended attributes differ"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDamagedRecords(t *testing.T) {
	good := record(t, sample(t), true)
	for _, bad := range []string{good[:len(good)-3], "x", "\"a\" 1 2 3", strings.Repeat("\x00", 100), good + good} {
		err := Diff(strings.NewReader(bad), strings.NewReader(good), func(Difference) bool { return true })
		if !errors.Is(err, ErrRecord) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

// TestDeep goes below what could be open at once or named by a path.
func TestDeep(t *testing.T) {
	dir := t.TempDir()
	name := strings.Repeat("d", 200)
	deep := 0
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = next
		f, err := unix.Openat(fd, "z", unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(f)
		deep++
	}
	unix.Close(fd)
	if got := strings.Count(record(t, dir, false), "\n"); got != 1+2*deep {
		t.Errorf("%d lines, want %d", got, 1+2*deep)
	}
	parts, err := Measure(open(t, dir), nil)
	if err != nil || parts[name].Entries != int64(2*deep) {
		t.Errorf("%+v, %v", parts, err)
	}
}

func TestMeasureIsWhatDuSays(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		d := filepath.Join(dir, fmt.Sprint("part", i%4), fmt.Sprint("below", i%3))
		os.MkdirAll(d, 0o755)
		path := filepath.Join(d, strconv.Itoa(i))
		if err := os.WriteFile(path, make([]byte, rng.IntN(30000)), 0o600); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			os.Link(path, filepath.Join(dir, fmt.Sprint("hard", i)))
		}
		if i%7 == 0 {
			os.Truncate(path, 1<<30) // a hole
		}
	}
	out, err := exec.Command("du", "-s", "-B1", dir).Output()
	if err != nil {
		t.Skipf("needs du: %v", err)
	}
	want, _ := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	parts, err := Measure(open(t, dir), map[string]int{"part1": 2})
	if err != nil {
		t.Fatal(err)
	}
	var sum Usage
	for _, u := range parts {
		sum.Add(u)
	}
	if sum.Disk != want {
		t.Errorf("%d bytes, du says %d", sum.Disk, want)
	}
	if parts["part1/below2"].Entries == 0 || parts["part2"].Entries == 0 || parts["part2/below1"].Entries != 0 {
		t.Errorf("parts %+v", parts)
	}
}

func FuzzDiff(f *testing.F) {
	f.Add("\"a\" 1 2 3\n", "\"a\" 1 2 4 s=3 l=\"x y\"\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		Diff(strings.NewReader(a), strings.NewReader(b), func(Difference) bool { return true })
		Diff(strings.NewReader(a), strings.NewReader(a), func(d Difference) bool { t.Errorf("%+v", d); return false })
	})
}
