package layer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
)

// TestMain lets the test binary be a worker in a user namespace.
func TestMain(m *testing.M) {
	Workers()
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
	res, err := UnpackMapped(t.Context(), d, bytes.NewReader(archive(t, entries...)), Options{UserXattr: true})
	if err != nil || res.Entries != int64(len(entries)) {
		t.Fatal(res, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(d.Name(), "big-ids"), &st); err != nil || st.Uid != first+6 || st.Gid != first+7 {
		t.Errorf("owner %d:%d, want %d:%d (%v)", st.Uid, st.Gid, first+6, first+7, err)
	}
}

func TestUnpackMappedErrors(t *testing.T) {
	if !asUser(t, true) {
		return
	}
	d, _ := mapped(t)
	o := Options{UserXattr: true}
	far := fileEntry("far", "")
	far.Uid = 4_000_000_000
	if _, err := UnpackMapped(t.Context(), d, bytes.NewReader(archive(t, far)), o); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "/etc/subuid") {
		t.Errorf("an owner beyond the range: %v", err)
	}
	if _, err := UnpackMapped(t.Context(), d, bytes.NewReader(archive(t, fileEntry("../x", ""))), o); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("a bad name: %v", err)
	}
	stream := archive(t, fileEntry("a", strings.Repeat("a", 1<<20)))
	if _, err := UnpackMapped(t.Context(), d, bytes.NewReader(stream[:1<<19]), o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that is cut: %v", err)
	}
	broken := errors.New("the network is broken")
	in := io.MultiReader(bytes.NewReader(stream[:1<<19]), iotest.ErrReader(broken))
	if _, err := UnpackMapped(t.Context(), d, in, o); !errors.Is(err, broken) {
		t.Errorf("a stream that fails: %v", err)
	}
	// A worker that gives up early must not leave us writing.
	bad := append(archive(t, fileEntry("../x", ""))[:1536], make([]byte, 64<<20)...)
	if _, err := UnpackMapped(t.Context(), d, bytes.NewReader(bad), o); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("a bad name, then much more: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	endless := archive(t, fileEntry("a", strings.Repeat("a", 1<<20)))
	r, w := io.Pipe()
	go func() { w.Write(endless[:1<<19]); <-ctx.Done(); w.CloseWithError(ctx.Err()) }()
	if _, err := UnpackMapped(ctx, d, r, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
}
