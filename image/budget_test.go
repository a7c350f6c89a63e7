package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"loper.run/image/oci"
)

// usedAt makes an image look as if it was last used so long ago.
func usedAt(t *testing.T, s *Store, img *Image, ago time.Duration) {
	t.Helper()
	path := filepath.Join(s.files.Root(), "image", "sha256", img.ID.Hex(), "image.json")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-ago)); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) taken(t *testing.T) int64 {
	t.Helper()
	u, err := s.files.Measure(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, part := range u {
		sum += part.Disk
	}
	return sum
}

// TestShrink drops packed layers first, then images, those that were used
// longest ago before others, and nothing that is needed.
func TestShrink(t *testing.T) {
	f, s, ctx := newFake(t), open(t), context.Background()
	var imgs []*Image
	var layers []testLayer
	for i, tag := range []string{"a", "b", "c", "d"} {
		l := plain(t, tag, noise(200_000+i))
		f.image(t, tag, oci.Host(), l)
		img, err := s.Pull(ctx, f.Listener.Addr().String()+"/r:"+tag, PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		imgs, layers = append(imgs, img), append(layers, l)
	}
	for i, hours := range []int{2, 4, 1, 3} { // b, d, a, c
		usedAt(t, s, imgs[i], time.Duration(hours)*time.Hour)
	}
	packed := func() (left []int) {
		for i, l := range layers {
			if _, err := s.files.BlobSize(oci.FromBytes(l.packed)); err == nil {
				left = append(left, i)
			}
		}
		return left
	}
	here := func() (left []int) {
		for i, img := range imgs {
			if s.Has(img.ID) {
				left = append(left, i)
			}
		}
		return left
	}
	check := func(when string, wantPacked, wantImages []int) {
		t.Helper()
		if p, i := packed(), here(); !slices.Equal(p, wantPacked) || !slices.Equal(i, wantImages) {
			t.Errorf("%s: packed layers %v, images %v; want %v, %v", when, p, i, wantPacked, wantImages)
		}
	}
	shrink := func(b Budget) Pruned {
		t.Helper()
		done, err := s.Shrink(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		if now := s.taken(t); now > b.Bytes && !b.DryRun && b.Bytes > 0 {
			t.Errorf("it takes %d bytes, not %d", now, b.Bytes)
		}
		return done
	}
	all := s.taken(t)
	if done := shrink(Budget{Bytes: all}); done.Space != 0 {
		t.Errorf("%+v", done)
	}
	check("within", []int{0, 1, 2, 3}, []int{0, 1, 2, 3})
	dry := shrink(Budget{Bytes: all - 300_000, DryRun: true})
	check("dry run", []int{0, 1, 2, 3}, []int{0, 1, 2, 3})
	if done := shrink(Budget{Bytes: all - 300_000}); done.Space != dry.Space || done.Space < 300_000 || len(done.Deleted) != 0 {
		t.Errorf("%+v, dry run %+v", done, dry)
	}
	check("a little", []int{0, 2}, []int{0, 1, 2, 3}) // those of b and d went
	// b is the oldest but in use, d was just pulled.
	usersOfB := func(id oci.Digest) []string {
		if id == imgs[1].ID {
			return []string{"container"}
		}
		return nil
	}
	done := shrink(Budget{Bytes: all - 1_000_000, Users: usersOfB, Keep: []oci.Digest{imgs[3].ID}})
	check("more", nil, []int{1, 2, 3})
	if !slices.Equal(done.Deleted, []string{imgs[0].ID.String()}) || len(done.Untagged) == 0 {
		t.Errorf("%+v", done)
	}
	// The next use counts.
	unlock, err := s.Lock(imgs[3])
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if at, err := s.files.LastUsed(imgs[3].ID); err != nil || time.Since(at) > time.Minute {
		t.Errorf("last used %v, %v", at, err)
	}
	shrink(Budget{Bytes: s.taken(t) - 100_000})
	check("the oldest", nil, []int{2, 3})
	if img, err := s.Resolve(imgs[3].ID.String()); err != nil || len(read(t, img, "d")) != 200_003 {
		t.Error(err)
	}
	// Nothing happens below somebody's hands.
	release, err := s.files.Use(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Shrink(ctx, Budget{Bytes: 1, Keep: []oci.Digest{imgs[2].ID, imgs[3].ID}}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	check("busy", nil, []int{2, 3})
}
