package image

import (
	"context"
	"errors"
	"slices"
	"sort"
	"time"

	"loper.run/image/oci"
	"loper.run/image/store"
	"loper.run/internal/tree"
)

// Budget is how much images may take on disk.
type Budget struct {
	// Bytes is the most that everything together may take, as du counts it.
	Bytes int64
	// Users tells which containers need an image: such images stay.
	Users func(id oci.Digest) []string
	// Keep are images that stay, such as one that was just pulled.
	Keep []oci.Digest
	// DryRun only tells what would be.
	DryRun bool
}

// Shrink removes what was used longest ago until the store is within a budget:
// first layers as they came, which a registry has, so that pushing or saving
// the image fetches them again; then images that no container needs. It does
// nothing while others use the store.
func (s *Store) Shrink(ctx context.Context, b Budget) (Pruned, error) {
	var done Pruned
	parts, err := s.files.Measure(ctx)
	if err != nil {
		return done, err
	}
	total := int64(0)
	for path, u := range parts {
		if !store.IsDownload(path) {
			total += u.Disk
		}
	}
	if total <= b.Bytes {
		return done, nil
	}
	recs, err := s.files.Images()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return done, err
	}
	done.Damaged = err
	recs = s.byUse(recs)
	uses := map[string]int{} // of parts
	for _, rec := range recs {
		for _, path := range s.files.PartsOf(rec) {
			uses[path]++
		}
	}
	var packed []oci.Digest
	dropped := map[string]bool{}
	for _, rec := range recs {
		for _, d := range rec.Packed {
			path := s.files.PackedPart(d)
			if u, ok := parts[path]; ok && total > b.Bytes && len(rec.Digests) > 0 && !dropped[path] {
				packed, dropped[path] = append(packed, d), true
				total -= u.Disk
			}
		}
	}
	var doomed []oci.Digest
	for _, rec := range recs {
		if total <= b.Bytes {
			break
		}
		if slices.Contains(b.Keep, rec.ID) || b.Users != nil && len(b.Users(rec.ID)) > 0 {
			continue
		}
		doomed = append(doomed, rec.ID)
		for _, path := range s.files.PartsOf(rec) {
			if uses[path]--; uses[path] == 0 && !dropped[path] {
				total -= parts[path].Disk
			}
		}
	}
	if b.DryRun {
		return s.wouldShrink(done, parts, dropped, doomed)
	}
	if err := s.files.DropPacked(packed); err != nil {
		if errors.Is(err, store.ErrBusy) {
			err = nil // who is busy does this when it is done
		}
		return done, err
	}
	for _, id := range doomed {
		names := s.calledBy(id)
		err := s.files.DeleteImage(ctx, id, func() error { return unneeded(&Image{ID: id}, b.Users) })
		var inUse *InUseError
		if errors.As(err, &inUse) || isNotExist(err) {
			continue
		}
		if err != nil {
			return done, err
		}
		done.Untagged, done.Deleted = append(done.Untagged, names...), append(done.Deleted, id.String())
	}
	if err := s.collect(); err != nil {
		return done, err
	}
	done.Space = s.files.Gone(parts).Disk
	return done, nil
}

// wouldShrink tells what Shrink would do.
func (s *Store) wouldShrink(done Pruned, parts map[string]tree.Usage, gone map[string]bool, doomed []oci.Digest) (Pruned, error) {
	free, err := s.files.Unneeded(func(d oci.Digest) bool { return slices.Contains(doomed, d) }, nil)
	for _, path := range free {
		gone[path] = true
	}
	for path := range gone {
		done.Space += parts[path].Disk
	}
	for _, id := range doomed {
		done.Untagged, done.Deleted = append(done.Untagged, s.calledBy(id)...), append(done.Deleted, id.String())
	}
	return done, err
}

// byUse sorts images, the one that was used longest ago first.
func (s *Store) byUse(recs []store.Image) []store.Image {
	used := map[oci.Digest]time.Time{}
	for _, rec := range recs {
		used[rec.ID], _ = s.files.LastUsed(rec.ID)
	}
	sort.Slice(recs, func(i, j int) bool { return used[recs[i].ID].Before(used[recs[j].ID]) })
	return recs
}

// calledBy are the names of an image for people.
func (s *Store) calledBy(id oci.Digest) (names []string) {
	refs, _ := s.namesOf(id)
	for _, ref := range refs {
		if ref.Domain != helloDomain {
			names = append(names, ref.Familiar())
		}
	}
	return names
}
