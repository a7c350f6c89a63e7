package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/userns"
	"loper.run/test/env"
)

// TestMain lets the test binary be a worker in a user namespace.
func TestMain(m *testing.M) {
	Workers()
	userns.Register("captive", captive)
	userns.Register("liar", liar)
	userns.Main()
	os.Exit(m.Run())
}

// mapped returns a directory and the user namespace's first id beyond the
// caller's, for a caller that has such ids.
func mapped(t *testing.T) (dir *os.File, first uint32) {
	t.Helper()
	uids, gids, err := userns.Mappings()
	if err != nil {
		t.Fatal(err)
	}
	if userns.Single(uids) || userns.Single(gids) {
		t.Skip("needs newuidmap and a range in /etc/subuid and /etc/subgid for the user who runs the test")
	}
	if err := (userns.Worker{Name: removeWorker, Args: []string{"nothing"}, Files: []*os.File{os.Stdin}}).Run(t.Context()); err != nil && !strings.Contains(err.Error(), "not a directory") {
		t.Skipf("needs user namespaces: %v", err)
	}
	above := t.TempDir()
	if err := os.Mkdir(filepath.Join(above, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(filepath.Join(above, "root"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := os.Open(above)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(a, "root"); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(above); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		a.Close()
		d.Close()
	})
	return d, uids[1].HostID
}

// source is a file with the bytes, which don't grow.
func source(t *testing.T, data []byte) Source {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return Source{File: f}
}

func TestUnpackMapped(t *testing.T) {
	if !asUser(t, true) {
		return
	}
	d, first := mapped(t)
	entries := full()
	for i := range entries { // ids beyond the range are another test's
		if entries[i].Uid > 60000 {
			entries[i].Uid, entries[i].Gid = 7, 8
		}
	}
	stream := archive(t, entries...)
	res, err := UnpackFile(t.Context(), d, source(t, stream), Options{UserXattr: true})
	if err != nil || res.Entries != int64(len(entries)) || res.DiffID != oci.FromBytes(stream) {
		t.Fatal(res, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(d.Name(), "big-ids"), &st); err != nil || st.Uid != first+6 || st.Gid != first+7 {
		t.Errorf("owner %d:%d, want %d:%d (%v)", st.Uid, st.Gid, first+6, first+7, err)
	}
}

func TestUnpackFileErrors(t *testing.T) {
	if os.Geteuid() == 0 {
		d, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		unpackFileErrors(t, d, Options{})
	}
}

func TestUnpackFileErrorsAsUser(t *testing.T) {
	if asUser(t, true) {
		d, _ := mapped(t)
		o := Options{UserXattr: true}
		far := fileEntry("far", "")
		far.Uid = 4_000_000_000
		if _, err := UnpackFile(t.Context(), d, source(t, archive(t, far)), o); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "/etc/subuid") {
			t.Errorf("an owner beyond the range: %v", err)
		}
		unpackFileErrors(t, d, o)
	}
}

func unpackFileErrors(t *testing.T, d *os.File, o Options) {
	if _, err := UnpackFile(t.Context(), d, source(t, archive(t, fileEntry("../x", ""))), o); err == nil || !strings.Contains(err.Error(), "leads out") || strings.Count(err.Error(), "unpack layer") != 1 {
		t.Errorf("a bad name: %v", err)
	}
	stream := archive(t, fileEntry("a", strings.Repeat("a", 1<<20)))
	if _, err := UnpackFile(t.Context(), d, source(t, stream[:1<<19]), o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that is cut: %v", err)
	}
	src := source(t, stream[:1<<19])
	broken := errors.New("the network is broken")
	src.Limit = func(off int64) (int64, error) {
		if off == 0 {
			return 1 << 18, nil
		}
		return 0, broken
	}
	if _, err := UnpackFile(t.Context(), d, src, o); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
	src.Limit = func(off int64) (int64, error) { return off + 1<<18, nil }
	if _, err := UnpackFile(t.Context(), d, src, o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file shorter than its limit: %v", err)
	}
	src.Limit = func(off int64) (int64, error) { return off, nil }
	if _, err := UnpackFile(t.Context(), d, src, o); err == nil || !strings.Contains(err.Error(), "limit went from 0 to 0") {
		t.Errorf("a limit that stays: %v", err)
	}
	// A worker that gives up early must not leave us waiting for more.
	bad := append(archive(t, fileEntry("../x", ""))[:1536], make([]byte, 8<<20)...)
	src, forever := source(t, bad), make(chan struct{})
	defer close(forever)
	src.Limit = func(off int64) (int64, error) {
		if off == 0 {
			return 8 << 20, nil
		}
		<-forever
		return 0, io.EOF
	}
	if _, err := UnpackFile(t.Context(), d, src, o); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("a bad name, then much more: %v", err)
	}
	src.Limit = func(off int64) (int64, error) {
		if off == 0 {
			return 100, nil
		}
		<-forever
		return 0, io.EOF
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := UnpackFile(ctx, d, src, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	// A pipe is read to its end.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() { w.Write(stream); w.Close() }()
	if res, err := UnpackFile(t.Context(), d, Source{File: r, Algorithm: oci.SHA512}, o); err != nil || res.DiffID.Algorithm() != oci.SHA512 || res.Bytes != 1<<20 {
		t.Errorf("a pipe: %+v %v", res, err)
	}
}

// TestUnpackFile compares with what unpacking in this very process makes.
func TestUnpackFile(t *testing.T) {
	needRoot(t)
	node := func(name string, typ byte, major, minor int64) entry {
		return entry{tar.Header{Typeflag: typ, Name: name, Mode: 0o2640, Uid: 3, Gid: 4, Devmajor: major, Devminor: minor}, ""}
	}
	for name, entries := range map[string][]entry{
		"full":     full(),
		"attacked": {symlinkEntry("l", "a/b"), fileEntry("a/b/c/x", "x"), fileEntry("l/c/.wh..wh..opq", ""), node("l/disk", tar.TypeBlock, 7, 1), linkEntry("l/c/same", "l/disk"), linkEntry("third", "a/b/c/same")},
		"replaced": {node("a/one", tar.TypeChar, 1, 3), node("a/two", tar.TypeChar, 1, 5), node("a/three", tar.TypeBlock, 1, 7), fileEntry("a/.wh.three", ""), fileEntry("a/one", "file"), dirEntry("a/two"),
			node("b/four", tar.TypeChar, 1, 3), fileEntry("b/c/.wh..wh..opq", ""), fileEntry("b", "no directory")},
		"gone": {dirEntry("d"), fileEntry("d/.wh..wh..opq", ""), node("d/e/n", tar.TypeChar, 5, 2), symlinkEntry("d", "elsewhere"), fileEntry("d2/.wh.n", ""), node("d2/n", tar.TypeChar, 5, 2), node("d2/n", tar.TypeBlock, 5, 3),
			dirEntry("w/x"), fileEntry(".wh.w", ""), fileEntry("z/.wh.y", ""), dirEntry("z/y")},
		"whiteout of the root": {fileEntry(".wh..wh..opq", ""), fileEntry("x", "")},
	} {
		stream := archive(t, entries...)
		want, wantRes, err := unpackTo(t, stream, Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		root := filepath.Join(t.TempDir(), "root")
		if err := os.Mkdir(root, 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		res, err := UnpackFile(t.Context(), d, source(t, stream), Options{})
		d.Close()
		if err != nil {
			t.Fatal(name, err)
		}
		if res.DiffID != oci.FromBytes(stream) {
			t.Errorf("%s: diff id %s", name, res.DiffID)
		}
		if res.DiffID = (oci.Digest{}); res != wantRes {
			t.Errorf("%s: got %+v, want %+v", name, res, wantRes)
		}
		sameTree(t, withoutNow(tree(t, root)), withoutNow(tree(t, want)))
	}
}

// TestFileCapability: what a worker writes in its namespace is what root writes
// outside, to read and to use.
func TestFileCapability(t *testing.T) {
	needRoot(t)
	files, err := env.BusyboxFiles()
	if err != nil {
		t.Skip(err)
	}
	const value = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_raw+ep, version 2
	e := fileEntry("grep", files[1].Body)
	e.Mode = 0o755
	e.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": value}
	base, err := os.MkdirTemp("", "layer-caps-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if res, err := UnpackFile(t.Context(), d, source(t, archive(t, e)), Options{}); err != nil || res.Xattrs != 0 {
		t.Fatal(res, err)
	}
	got := make([]byte, 100)
	n, err := unix.Getxattr(filepath.Join(base, "grep"), "security.capability", got)
	if err != nil || string(got[:n]) != value {
		t.Errorf("read back: %q, %v", got[:max(n, 0)], err)
	}
	c := exec.Command(filepath.Join(base, "grep"), "CapEff", "/proc/self/status")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	var fs unix.Statfs_t
	if unix.Statfs(base, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		t.Skip("needs a file system that is not mounted nosuid")
	}
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "0000000000002000") {
		t.Errorf("as another user: %q, %v", out, err)
	}
}

// withoutNow takes the times away that no entry of a layer has set.
func withoutNow(m map[string]string) map[string]string {
	for path, s := range m {
		words := strings.SplitN(s, " ", 4)
		if sec, _, _ := strings.Cut(words[2], "."); len(sec) >= 10 && sec > "1780000000" && sec < "3000000000" {
			words[2] = "now"
		}
		m[path] = strings.Join(words, " ")
	}
	return m
}
