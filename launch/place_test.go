package launch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// walkOp walks operations that end without another program.
func walkOp(t *testing.T, op Op, inputs Files, more ...Op) error {
	t.Helper()
	p := &Program{}
	p.Add(op)
	p.Add(more...)
	p.Add(Op{Call: Ready})
	c, err := Start(p, inputs, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Next(); err != io.EOF {
		c.Abort()
		return err
	}
	_, err = c.Wait()
	return err
}

func openDir(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// A place is found, or made, below the root, wherever links aim.
func TestPlace(t *testing.T) {
	deep := strings.Repeat("/x", 100)
	for _, test := range []struct {
		path   string
		dir    bool
		strict bool
		want   string // where the mark is found, or an error
	}{
		{"/there", true, false, "there"},
		{"there/", true, false, "there"},
		{"", true, false, "."},
		{"/", true, false, "."},
		{".", true, false, "."},
		{"/new/deep/er", true, false, "new/deep/er"},
		{"/new/file", false, false, "new/file"},
		{"/there/../up", true, false, "up"},
		{"/../../up2", true, false, "up2"},
		{"/new2/../up3", true, false, "up3"},
		{"/link", true, false, "there"},
		{"/link/x", false, false, "there/x"},
		{"/abs/x", true, false, "there/x"},
		{"/out/x", true, false, "x"},
		{"/dangling", true, false, "no/where"},
		{"/dangling", false, false, "no/where"},
		{"/dangling/x", false, false, "no/where/x"},
		{"/absdangling/x", true, false, "no/there/x"},
		{"/outdangling/x", true, false, "etc/none/x"},
		{"/two", true, false, "no/where"},
		{"/upwards", true, false, "beside/x"},
		{"/loop", true, false, "too many levels"},
		{"/danglingloop/x", true, false, "too many levels"},
		{"/file", true, false, "not a directory"},
		{"/file/x", true, false, "not a directory"},
		{"/there", false, false, "there"},
		{"/file", false, false, "file"},
		{"/link", true, true, "too many levels"},
		{"/link/x", true, true, "too many levels"},
		{"/dangling/x", true, true, "too many levels"},
		{"/newer/dir", true, true, "newer/dir"},
		{"/proc/self/root", true, false, "proc/self/root"},
		{deep, true, false, deep},
		{"/" + strings.Repeat("n", 256), true, false, "file name too long"},
		{strings.Repeat("/x", 2048), true, false, "file name too long"},
	} {
		t.Run(test.path[:min(len(test.path), 20)], func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range []string{"there", "sub"} {
				if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			for name, to := range map[string]string{
				"link": "there", "abs": "/there", "out": "../../../..", "dangling": "no/where", "absdangling": "/no/there",
				"outdangling": "../../etc/none", "two": "sub/three", "sub/three": "../dangling", "loop": "loop", "danglingloop": "no/../danglingloop",
				"upwards": "missing/../beside/x",
			} {
				if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
					t.Fatal(err)
				}
			}
			kind := unix.S_IFREG | 0o644
			if test.dir {
				kind = unix.S_IFDIR | 0o755
			}
			strict := 0
			if test.strict {
				strict = 1
			}
			// The place is marked by its time.
			times := Words(Int(7), Int(0), Int(7), Int(0))
			err := walkOp(t, Op{Call: Place, Args: []Arg{Input("root"), String(test.path), Int(kind), Int(strict)}, Result: 1, Text: "place"},
				Files{"root": openDir(t, root)},
				Op{Call: Call{Name: "utimensat", nr: unix.SYS_UTIMENSAT}, Args: []Arg{Result(1), String(""), times, Int(unix.AT_EMPTY_PATH)}})
			var st unix.Stat_t
			if statErr := unix.Lstat(filepath.Join(root, test.want), &st); err == nil && (statErr != nil || st.Mtim.Sec != 7) {
				t.Errorf("%s is not the place: %v, %+v", test.want, statErr, st)
			}
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

func TestPlaceMakesWhatIsAskedFor(t *testing.T) {
	root := t.TempDir()
	if err := walkOp(t, Op{Call: Umask, Args: []Arg{Int(0)}}, Files{"root": openDir(t, root)},
		Op{Call: Place, Args: []Arg{Input("root"), String("a/b/dir"), Int(unix.S_IFDIR | 0o1777), Int(0)}},
		Op{Call: Place, Args: []Arg{Input("root"), String("a/b/file"), Int(unix.S_IFREG | 0o640), Int(0)}},
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"a": os.ModeDir | 0o755, "a/b/dir": os.ModeDir | os.ModeSticky | 0o777, "a/b/file": 0o640,
	} {
		if info, err := os.Lstat(filepath.Join(root, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info, err, want)
		}
	}
}

func TestCopyTree(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of other users")
	}
	from, to := t.TempDir(), t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(from, "a/b"), 0o755))
	check(os.WriteFile(filepath.Join(from, "a/file"), []byte(strings.Repeat("content", 100000)), 0o644))
	check(os.Chown(filepath.Join(from, "a/file"), 7, 8))
	check(os.Chmod(filepath.Join(from, "a/file"), 0o4755|os.ModeSetuid))
	check(os.Symlink("/etc/shadow", filepath.Join(from, "a/b/link")))
	check(os.Lchown(filepath.Join(from, "a/b/link"), 9, 9))
	check(unix.Mkfifo(filepath.Join(from, "fifo"), 0o620))
	check(unix.Mknod(filepath.Join(from, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	check(unix.Mknod(filepath.Join(from, "socket"), unix.S_IFSOCK|0o600, 0))
	check(os.WriteFile(filepath.Join(from, "..."), []byte("dots"), 0o600))
	check(os.WriteFile(filepath.Join(from, ".hidden"), nil, 0o600))
	check(unix.Setxattr(filepath.Join(from, "a/file"), "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	check(unix.Setxattr(filepath.Join(from, "a"), "trusted.x", []byte("y"), 0))
	check(os.Chmod(from, 0o750))
	check(os.Chown(from, 5, 6))
	for i := range 300 { // more than one getdents64 gives
		check(os.WriteFile(filepath.Join(from, "a/b", strings.Repeat("n", 100)+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))), nil, 0o600))
	}
	check(os.MkdirAll(filepath.Join(from, "mounted"), 0o711))
	check(unix.Mount("tmpfs", filepath.Join(from, "mounted"), "tmpfs", 0, ""))
	defer unix.Unmount(filepath.Join(from, "mounted"), unix.MNT_DETACH)
	check(os.WriteFile(filepath.Join(from, "mounted/secret"), nil, 0o600))
	check(walkOp(t, Op{Call: CopyTree, Args: []Arg{Input("from"), Input("to")}, Text: "copy"}, Files{"from": openDir(t, from), "to": openDir(t, to)}))
	count := 0
	check(filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		check(err)
		if strings.HasSuffix(path, "/mounted") {
			return filepath.SkipDir
		}
		count++
		there := filepath.Join(to, strings.TrimPrefix(path, from))
		var a, b unix.Stat_t
		check(unix.Lstat(path, &a))
		check(unix.Lstat(there, &b))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev || a.Mode&unix.S_IFMT == unix.S_IFREG && (a.Size != b.Size || a.Mtim != b.Mtim) {
			t.Errorf("%s: %+v, want %+v", there, b, a)
		}
		return nil
	}))
	if count < 300 {
		t.Errorf("only %d files", count)
	}
	if text, err := os.ReadFile(filepath.Join(to, "a/file")); err != nil || len(text) != 700000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	for path, name := range map[string]string{"a/file": "security.capability", "a": "trusted.x"} {
		if n, err := unix.Getxattr(filepath.Join(to, path), name, make([]byte, 100)); err != nil || n == 0 {
			t.Errorf("%s: %s: %d bytes, %v", path, name, n, err)
		}
	}
	if target, err := os.Readlink(filepath.Join(to, "a/b/link")); err != nil || target != "/etc/shadow" {
		t.Errorf("link to %q, %v", target, err)
	}
	if list, err := os.ReadDir(filepath.Join(to, "mounted")); err != nil || len(list) != 0 {
		t.Errorf("of another mount: %v, %v", list, err)
	}
}

// A tree deeper than a copy goes ends it with an error.
func TestCopyTreeTooDeep(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(from, strings.Repeat("d/", treeDepth)), 0o755); err != nil {
		t.Fatal(err)
	}
	err := walkOp(t, Op{Call: CopyTree, Args: []Arg{Input("from"), Input("to")}}, Files{"from": openDir(t, from), "to": openDir(t, to)})
	var failed *Error
	if !errors.As(err, &failed) || failed.Errno != syscall.ENAMETOOLONG {
		t.Error(err)
	}
}
