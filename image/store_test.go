package image

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"loper.run/image/oci"
)

func pulled(t *testing.T) (*Store, *Image, string) {
	t.Helper()
	f, s := newFake(t), open(t)
	f.image(t, "latest", oci.Host(), gz(t, "a", "x"))
	img, err := s.Pull(t.Context(), f.name(), PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, img, f.name()
}

func TestTagAndRemove(t *testing.T) {
	s, img, name := pulled(t)
	for _, target := range []string{"other", "other:two", "docker.io/me/it:x"} {
		if err := s.Tag(name, target); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, s.Tag("nope", "x"), "no such image")
	wantError(t, s.Tag(name, "Bad Name"), "invalid")
	wantError(t, s.Tag(name, "x@"+img.ID.String()), "digest")
	got, err := s.Resolve("other")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{name, "me/it:x", "other:latest", "other:two"}, got.Names); diff != "" {
		t.Error(diff)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || len(list[0].Names) != 4 {
		t.Errorf("List: %+v, %v", list, err)
	}
	_, _, err = s.Remove(img.ID.Short(), false, nil)
	wantError(t, err, "multiple repositories")
	if un, del, err := s.Remove("other:two", false, nil); err != nil || len(un) != 1 || un[0] != "other:two" || del != nil {
		t.Errorf("untag: %v %v %v", un, del, err)
	}
	// With the last tag of a repository its digest goes too.
	if un, del, err := s.Remove(name, false, nil); err != nil || len(un) != 2 || del != nil {
		t.Errorf("untag: %v %v %v", un, del, err)
	}
	users := func(id oci.Digest) []string {
		if id != img.ID {
			t.Errorf("asked about %s", id)
		}
		return []string{strings.Repeat("0123456789abcdef", 4)}
	}
	// Untagging is no deletion: it needs no container's leave.
	if un, _, err := s.Remove("other", false, users); err != nil || len(un) != 1 {
		t.Errorf("untag: %v %v", un, err)
	}
	_, _, err = s.Remove("me/it:x", false, users)
	wantError(t, err, "used by container 0123456789ab:")
	if _, err := s.Resolve("me/it:x"); err != nil {
		t.Error(err)
	}
	_, _, err = s.Remove(img.ID.Short(), true, users)
	wantError(t, err, "used by container")
	if un, del, err := s.Remove("me/it:x", true, users); err != nil || len(un) != 1 || del != nil {
		t.Errorf("forced: %v %v %v", un, del, err)
	}
	if got, err := s.Resolve(img.ID.String()); err != nil || len(got.Names) != 0 {
		t.Errorf("the image of a container is gone: %v", err)
	}
	if un, del, err := s.Remove(img.ID.Hex(), false, nil); err != nil || len(un) != 0 || len(del) != 1 || del[0] != img.ID.String() {
		t.Errorf("delete: %v %v %v", un, del, err)
	}
	wantNothing(t, s)
	if _, err := os.Stat(img.Layers[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the layer is still there: %v", err)
	}
	_, _, err = s.Remove("other", false, nil)
	if !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestRemoveWaitsForLock(t *testing.T) {
	s, img, name := pulled(t)
	unlock, err := s.Lock(img)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := s.Remove(name, false, nil)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("removed while locked: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := s.Lock(img); !errors.Is(err, ErrNotFound) {
		t.Errorf("lock of a removed image: %v", err)
	}
}

func TestResolveNothing(t *testing.T) {
	s := open(t)
	for _, name := range []string{"busybox", "busybox:1", "abc", "sha256:abc", strings.Repeat("a", 64), "sha256:xyz", "busybox@" + oci.FromBytes(nil).String()} {
		if _, err := s.Resolve(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "A", "a b", "../x"} {
		if _, err := s.Resolve(name); err == nil {
			t.Errorf("%q is found", name)
		}
	}
}

func TestHost(t *testing.T) {
	s := open(t)
	img, err := s.Resolve(Host)
	if err != nil || len(img.Layers) != 1 || img.Layers[0] != "/" || img.Builtin != Host || len(img.Config.Cmd) != 1 {
		t.Errorf("%+v, %v", img, err)
	}
	unlock, err := s.Lock(img)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if img, err := s.Pull(t.Context(), Host, PullOptions{}); err != nil || img.Builtin != Host {
		t.Errorf("pull: %+v, %v", img, err)
	}
	_, _, err = s.Remove(Host, true, nil)
	wantError(t, err, "built in")
	wantNothing(t, s)
}

func TestHello(t *testing.T) {
	s := open(t)
	img, err := s.Resolve(Hello)
	if err != nil && strings.Contains(err.Error(), "built with cgo") {
		t.Skip("needs a static test program: CGO_ENABLED=0, as make test has it")
	}
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(img.Layers[0] + "/hello")
	if err != nil || st.Size() != self.Size() || st.Mode().Perm() != 0o755 || img.Config.Entrypoint[0] != "/hello" || img.Builtin != Hello {
		t.Errorf("%v, %v, %+v", st, err, img)
	}
	if st, err := os.Stat(img.Layers[0] + "/proc"); err != nil || !st.IsDir() {
		t.Errorf("/proc: %v, %v", st, err)
	}
	again, err := s.Resolve(Hello)
	if err != nil || again.Layers[0] != img.Layers[0] {
		t.Errorf("%+v, %v", again, err)
	}
	if imgs, err := s.List(); err != nil || len(imgs) != 0 {
		t.Errorf("hello is listed: %v, %v", imgs, err)
	}
	unlock, err := s.Lock(img)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := s.files.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(img.Layers[0] + "/hello"); err != nil {
		t.Error(err)
	}
}

// A pull that is killed between an image's record and its name shows nothing,
// and leaves nothing for good.
func TestImageThatNeverHadAName(t *testing.T) {
	s, img, _ := pulled(t)
	rec, err := s.files.Image(img.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range append(img.Names, img.Digests...) {
		if err := s.files.DeleteName(n); err != nil {
			t.Fatal(err)
		}
	}
	if imgs, err := s.List(); err != nil || len(imgs) != 1 {
		t.Errorf("an image that lost its names is not listed: %v, %v", imgs, err)
	}
	rec.Digests = nil
	put := func() {
		t.Helper()
		release, err := s.files.Use(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if err := s.files.PutImage(rec); err != nil {
			t.Fatal(err)
		}
	}
	put()
	wantNothing(t, s)
	if err := s.collect(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.files.Image(img.ID); err != nil {
		t.Errorf("collected while it may still get its name: %v", err)
	}
	rec.PulledAt = rec.PulledAt.Add(-2 * unnamedKeep)
	put()
	if err := s.collect(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(img.Layers[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the layer stays: %v", err)
	}
}
