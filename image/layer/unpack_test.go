package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// full is a layer with one of everything.
func full() []entry {
	return []entry{
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "x"}}, ""},
		{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o750}, ""},
		dirEntry("etc/"),
		fileEntry("etc/passwd", "root:x:0:0\n"),
		{tar.Header{Typeflag: tar.TypeReg, Name: "etc/shadow", Mode: 0, Gid: 42}, "secret"},
		{tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/su", Mode: 0o4755}, "su"},
		{tar.Header{Typeflag: tar.TypeDir, Name: "usr", Mode: 0o2775, Gid: 50}, ""},
		fileEntry("usr/plain", ""),
		{tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777}, ""},
		{tar.Header{Typeflag: tar.TypeDir, Name: "locked", Mode: 0}, ""},
		fileEntry("locked/in", "in"),
		{tar.Header{Typeflag: tar.TypeReg, Name: "big-ids", Mode: 0o600, Uid: 4294967294, Gid: 3000000000}, "b"},
		symlinkEntry("bin", "usr/bin"),
		fileEntry("bin/through", "through a link"),
		symlinkEntry("abs", "/usr"),
		fileEntry("abs/bin/through-abs", "through an absolute link"),
		linkEntry("su2", "usr/bin/su"),
		linkEntry("abs-link", "/etc/passwd"),
		linkEntry("link-to-link", "bin"),
		{tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o622}, ""},
		fileEntry("/absolute/name", "a"),
		fileEntry("./dot//double/./x", "d"),
		fileEntry("long/"+strings.Repeat("n", 255), "long"),
		fileEntry(strings.Repeat("deep/", 200)+"end", "deep"),
		fileEntry("white\n \xff\x01 bytes", "any byte"),
		{tar.Header{Typeflag: tar.TypeReg, Name: "attr", Mode: 0o444, PAXRecords: map[string]string{
			"SCHILY.xattr.user.color":             "blue\x00\xff",
			"SCHILY.xattr.user.overlay.opaque":    "y",
			"SCHILY.xattr.trusted.overlay.opaque": "y",
			"SCHILY.xattr.security.selinux":       "x",
		}}, "attr"},
		fileEntry("twice", "first"),
		fileEntry("twice", "second"),
		fileEntry("was-file", "x"),
		dirEntry("was-file"),
		fileEntry("was-file/now-dir", "x"),
		fileEntry("was-dir/below/file", "x"),
		fileEntry("was-dir", "now a file"),
		fileEntry(".wh..wh.aufs", "ignored"),
		fileEntry(".wh..wh.plnk/1.2", "ignored"),
	}
}

func TestUnpackEverything(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Run("root", unpackEverything)
	}
}

func TestUnpackEverythingAsUser(t *testing.T) {
	if asUser(t, false) {
		unpackEverything(t)
	}
}

func unpackEverything(t *testing.T) {
	entries := full()
	root, res, err := unpackTo(t, archive(t, entries...), here())
	if err != nil {
		t.Fatal(err)
	}
	if res.Entries != int64(len(entries)) || res.Xattrs != 3 {
		t.Errorf("result %+v", res)
	}
	stat := func(name string) (st unix.Stat_t) {
		t.Helper()
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return st
	}
	isRoot := os.Geteuid() == 0
	for _, c := range []struct {
		name     string
		mode     uint32
		uid, gid uint32
		timed    bool
	}{
		{".", unix.S_IFDIR | 0o750, 0, 0, true},
		{"etc", unix.S_IFDIR | 0o755, 0, 0, true},
		{"etc/passwd", unix.S_IFREG | 0o644, 0, 0, true},
		{"etc/shadow", unix.S_IFREG, 0, 42, true},
		{"usr", unix.S_IFDIR | 0o2775, 0, 50, true},
		{"usr/plain", unix.S_IFREG | 0o644, 0, 0, true},
		{"usr/bin", unix.S_IFDIR | 0o755, 0, 0, false},
		{"usr/bin/su", unix.S_IFREG | 0o4755, 0, 0, true},
		{"usr/bin/through", unix.S_IFREG | 0o644, 0, 0, true},
		{"usr/bin/through-abs", unix.S_IFREG | 0o644, 0, 0, true},
		{"tmp", unix.S_IFDIR | 0o1777, 0, 0, true},
		{"locked", unix.S_IFDIR, 0, 0, true},
		{"big-ids", unix.S_IFREG | 0o600, 4294967294, 3000000000, true},
		{"bin", unix.S_IFLNK | 0o777, 0, 0, true},
		{"link-to-link", unix.S_IFLNK | 0o777, 0, 0, true},
		{"fifo", unix.S_IFIFO | 0o622, 0, 0, true},
		{"absolute/name", unix.S_IFREG | 0o644, 0, 0, true},
		{"absolute", unix.S_IFDIR | 0o755, 0, 0, false},
		{"dot/double/x", unix.S_IFREG | 0o644, 0, 0, true},
		{"long/" + strings.Repeat("n", 255), unix.S_IFREG | 0o644, 0, 0, true},
		{strings.Repeat("deep/", 200) + "end", unix.S_IFREG | 0o644, 0, 0, true},
		{"white\n \xff\x01 bytes", unix.S_IFREG | 0o644, 0, 0, true},
		{"attr", unix.S_IFREG | 0o444, 0, 0, true},
		{"was-file/now-dir", unix.S_IFREG | 0o644, 0, 0, true},
		{"was-dir", unix.S_IFREG | 0o644, 0, 0, true},
	} {
		st := stat(c.name)
		if st.Mode != c.mode {
			t.Errorf("%.40q: mode %o, want %o", c.name, st.Mode, c.mode)
		}
		if !isRoot {
			c.uid, c.gid = uint32(os.Getuid()), uint32(os.Getgid())
		}
		if st.Uid != c.uid || st.Gid != c.gid {
			t.Errorf("%.40q: owner %d:%d, want %d:%d", c.name, st.Uid, st.Gid, c.uid, c.gid)
		}
		if now := st.Mtim.Sec == epoch.Unix() && st.Mtim.Nsec == int64(epoch.Nanosecond()); now != c.timed {
			t.Errorf("%.40q: modified at %d.%09d", c.name, st.Mtim.Sec, st.Mtim.Nsec)
		}
	}
	if st := stat("su2"); st.Ino != stat("usr/bin/su").Ino {
		t.Error("su2 is no hard link")
	}
	if st := stat("abs-link"); st.Ino != stat("etc/passwd").Ino {
		t.Error("abs-link is no hard link")
	}
	if data, err := os.ReadFile(filepath.Join(root, "twice")); string(data) != "second" {
		t.Errorf("twice: %q, %v", data, err)
	}
	if got, want := xattrs(filepath.Join(root, "attr")), ` user.color="blue\x00\xff"`; got != want {
		t.Errorf("attr has%s, want%s", got, want)
	}
	for _, name := range []string{".wh..wh.aufs", ".wh..wh.plnk"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhiteouts(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Run("root", func(t *testing.T) { whiteouts(t, "trusted") })
	}
}

func TestWhiteoutsAsUser(t *testing.T) {
	if asUser(t, false) {
		whiteouts(t, "user")
	}
}

func whiteouts(t *testing.T, class string) {
	root, _, err := unpackTo(t, archive(t,
		fileEntry("a/.wh.gone", ""),
		fileEntry("b/.wh..wh..opq", ""),
		fileEntry("b/new", "new"),
		// A directory in the place of a whiteout of this layer hides lower ones too,
		// in whatever order the two come.
		fileEntry(".wh.before", ""),
		dirEntry("before"),
		dirEntry("after"),
		fileEntry(".wh.after", ""),
		fileEntry(".wh.implied", ""),
		fileEntry("implied/x/y", ""),
		fileEntry(".wh.file", ""),
		fileEntry("file", "shows"),
		fileEntry("file2", "shows"),
		fileEntry(".wh.file2", ""),
		entry{tar.Header{Typeflag: tar.TypeChar, Name: "as-node", Mode: 0o600}, ""},
	), here())
	if err != nil {
		t.Fatal(err)
	}
	opaque := fmt.Sprintf(" %s.overlay.opaque=%q", class, "y")
	for name, want := range map[string]string{"a": "", "b": opaque, "before": opaque, "after": opaque, "implied": opaque, "implied/x": ""} {
		if got := xattrs(filepath.Join(root, name)); got != want {
			t.Errorf("%s has%s, want%s", name, got, want)
		}
	}
	for _, name := range []string{"a/gone", "as-node"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, name), &st); err != nil || !isWhiteout(&st) {
			t.Errorf("%s is no whiteout: %o %v", name, st.Mode, err)
		}
	}
	for _, name := range []string{"file", "file2"} {
		if data, err := os.ReadFile(filepath.Join(root, name)); string(data) != "shows" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestOverlay lets the kernel be the judge of whiteouts.
func TestOverlay(t *testing.T) {
	needRoot(t)
	lower, _, err := unpackTo(t, archive(t,
		fileEntry("gone", ""), fileEntry("dir/old", ""), fileEntry("kept", "kept"), fileEntry("swap/old", "")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	upper, _, err := unpackTo(t, archive(t,
		fileEntry(".wh.gone", ""), fileEntry("dir/.wh..wh..opq", ""), fileEntry("dir/new", ""),
		fileEntry(".wh.swap", ""), fileEntry("swap/new", "")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	if err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+upper+":"+lower); err != nil {
		t.Skipf("needs overlayfs: %v", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	var names []string
	for name := range tree(t, at) {
		names = append(names, name)
	}
	want := map[string]bool{".": true, "kept": true, "dir": true, "dir/new": true, "swap": true, "swap/new": true}
	if len(names) != len(want) {
		t.Errorf("overlay shows %q", names)
	}
	for _, n := range names {
		if !want[n] {
			t.Errorf("overlay shows %s", n)
		}
	}
}

func TestDevices(t *testing.T) {
	needRoot(t)
	root, res, err := unpackTo(t, archive(t,
		entry{tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3, Gid: 5}, ""},
		entry{tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Devmajor: 259, Devminor: 70000}, ""}), Options{})
	if err != nil || res.Devices != 0 {
		t.Fatal(res, err)
	}
	got := tree(t, root)
	for name, want := range map[string]string{"null": "20666 0:5 1700000000.123456789 1:3", "disk": "60660 0:0 1700000000.123456789 259:70000"} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
}

func TestDevicesAsUser(t *testing.T) {
	if !asUser(t, false) {
		return
	}
	root, res, err := unpackTo(t, archive(t,
		entry{tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3}, ""},
		entry{tar.Header{Typeflag: tar.TypeBlock, Name: "dev/disk", Mode: 0o660, Devmajor: 8}, ""},
		linkEntry("dev/zero", "dev/null"),
		fileEntry("after", "")), here())
	if err != nil {
		t.Fatal(err)
	}
	if want := `3 device nodes ("dev/null" …) are left out: only root can make them`; res.Warning() != want {
		t.Errorf("warning %q, want %q", res.Warning(), want)
	}
	if got := tree(t, root); len(got) != 3 {
		t.Errorf("tree %v", got)
	}
}

func TestOwnersNeedRights(t *testing.T) {
	if !asUser(t, false) {
		return
	}
	_, _, err := unpackTo(t, archive(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "x", Uid: 7}, ""}), Options{})
	if err == nil || !strings.Contains(err.Error(), `entry "x": owner 7:0: `) {
		t.Errorf("error %v", err)
	}
}

func TestSparse(t *testing.T) {
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("needs GNU tar")
	}
	src := t.TempDir()
	f, err := os.Create(filepath.Join(src, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 64<<20 + 17
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for i, off := range []int64{0, 5<<20 + 3, 30 << 20, 63 << 20} {
		f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 5000), off)
	}
	f.Close()
	os.Truncate(filepath.Join(src, "sparse"), size)
	for _, format := range [][]string{{"--format=gnu"}, {"--format=pax", "--sparse-version=0.0"}, {"--format=pax", "--sparse-version=0.1"}, {"--format=pax", "--sparse-version=1.0"}} {
		t.Run(strings.Join(format, " "), func(t *testing.T) {
			stream, err := exec.Command("tar", append(format, "--sparse", "--numeric-owner", "-C", src, "-c", ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if len(stream) > 1<<20 {
				t.Fatalf("tar wrote %d bytes: not sparse", len(stream))
			}
			root, res, err := unpackTo(t, stream, here())
			if err != nil {
				t.Fatal(err)
			}
			a, _ := os.ReadFile(filepath.Join(src, "sparse"))
			b, _ := os.ReadFile(filepath.Join(root, "sparse"))
			if !bytes.Equal(a, b) || res.Bytes != size {
				t.Errorf("contents differ, result %+v", res)
			}
			var st unix.Stat_t
			unix.Lstat(filepath.Join(root, "sparse"), &st)
			if st.Blocks*512 > 1<<20 {
				t.Errorf("takes %d bytes on disk: holes are lost", st.Blocks*512)
			}
		})
	}
}

// TestAgainstTar compares a real tree, unpacked here and by GNU tar.
func TestAgainstTar(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("tar"); err != nil {
		t.Skip("needs GNU tar")
	}
	for _, format := range []string{"gnu", "pax"} {
		t.Run(format, func(t *testing.T) {
			var stream bytes.Buffer
			c := exec.Command("tar", "--format="+format, "--xattrs", "--numeric-owner", "-C", "/", "-c", "etc", "usr/share/doc/bash", "usr/share/zoneinfo", "dev/null", "dev/tty")
			if format == "gnu" {
				c.Args = append(c.Args[:2], c.Args[3:]...)
			}
			c.Stdout = &stream
			if err := c.Run(); err != nil {
				t.Skipf("needs a readable /etc, /usr/share/doc/bash, /usr/share/zoneinfo: %v", err)
			}
			want := t.TempDir()
			x := exec.Command("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--delay-directory-restore", "-C", want, "-xp")
			x.Stdin = bytes.NewReader(stream.Bytes())
			if out, err := x.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			got, res, err := unpackTo(t, stream.Bytes(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries, %d bytes", res.Entries, res.Bytes)
			g, w := tree(t, got), tree(t, want)
			for _, m := range []map[string]string{g, w} {
				for _, implied := range []string{".", "usr", "usr/share", "usr/share/doc", "dev"} {
					delete(m, implied) // times of what the archive doesn't have
				}
			}
			sameTree(t, g, w)
		})
	}
}

func TestManyEntries(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	const n = 100_000
	for i := range n {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("d%d/s%d", i%40, i), Linkname: "x", ModTime: epoch}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	_, res, err := unpackTo(t, b.Bytes(), here())
	if err != nil || res.Entries != n {
		t.Fatal(res, err)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		limits  Limits
		entries []entry
		want    string
	}{
		{Limits{Entries: 2}, []entry{dirEntry("a"), dirEntry("b"), dirEntry("c")}, "more than 2 entries"},
		{Limits{Bytes: 9}, []entry{fileEntry("a", "12345"), fileEntry("b", "12345")}, `entry "b": the layer's files hold more than 9 bytes`},
		{Limits{Bytes: 9}, []entry{fileEntry("a", "12345"), fileEntry("b", "1234")}, ""},
		{Limits{}, []entry{fileEntry(strings.Repeat("d/", maxDepth+1)+"x", "")}, "deeper than 512 directories"},
		{Limits{}, []entry{fileEntry(strings.Repeat("n", 256), "")}, "longer than 255 bytes"},
		{Limits{}, []entry{fileEntry(strings.Repeat(strings.Repeat("n", 250)+"/", 20)+"x", "")}, "too long"},
		{Limits{}, []entry{symlinkEntry("l", strings.Repeat("n", 4096))}, "target is too long"},
	} {
		o := here()
		o.Limits = c.limits
		_, _, err := unpackTo(t, archive(t, c.entries...), o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: error %v, want %q", c.limits, err, c.want)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Unpack(ctx, d, bytes.NewReader(archive(t, full()...)), here()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
