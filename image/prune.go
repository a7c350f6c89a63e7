package image

import (
	"context"
	"errors"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// Prune says which images to remove: those that nobody uses, without All only
// those without a tag.
type Prune struct {
	All bool
	// Match is asked about each such image, with its configuration; nil means all.
	Match func(*Image) bool
	// Users tells which containers need an image.
	Users func(id oci.Digest) []string
	// Beside are the ids of containers that are to be taken for gone. Users
	// knows of them.
	Beside []string
	// Partials removes downloads that wait to be resumed as well.
	Partials bool
	// DryRun only tells what would be.
	DryRun bool
}

// Pruned is what was removed.
type Pruned struct {
	Untagged, Deleted []string
	// Space is what is free on disk now, in bytes.
	Space int64
	// Damaged tells of records that can't be read, whose images stay.
	Damaged error
}

// Prune removes images that nobody uses, and all else that no image needs.
func (s *Store) Prune(ctx context.Context, p Prune) (Pruned, error) {
	var done Pruned
	doomed, err := s.unused(p)
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return done, err
	}
	done.Damaged = err
	parts, err := s.files.Measure(ctx)
	if err != nil {
		return done, err
	}
	gone := map[oci.Digest]bool{}
	for _, img := range doomed {
		if !p.DryRun {
			err := s.files.DeleteImage(ctx, img.ID, func() error { return unneeded(img, p.Users) })
			var inUse *InUseError
			if errors.As(err, &inUse) || isNotExist(err) {
				continue // since a moment
			}
			if err != nil {
				return done, err
			}
		}
		gone[img.ID] = true
		if img.Builtin == "" {
			done.Untagged = append(done.Untagged, append(img.Names, img.Digests...)...)
			done.Deleted = append(done.Deleted, img.ID.String())
		}
	}
	if p.DryRun {
		paths, err := s.files.Unneeded(func(d oci.Digest) bool { return gone[d] }, p.Beside)
		for _, path := range paths {
			done.Space += parts[path].Disk
		}
		for path, u := range parts {
			if p.Partials && store.IsDownload(path) {
				done.Space += u.Disk
			}
		}
		return done, err
	}
	if err := s.collect(); err != nil {
		return done, err
	}
	if p.Partials {
		if err := s.files.DropPartials(); err != nil {
			return done, err
		}
	}
	done.Space = s.files.Gone(parts).Disk
	return done, nil
}

func unneeded(img *Image, users func(oci.Digest) []string) error {
	if users == nil {
		return nil
	}
	if by := users(img.ID); len(by) > 0 {
		return &InUseError{img.ID.Short(), by}
	}
	return nil
}

// unused lists the images that a Prune is about. Damaged records are told in
// the error, beside the good.
func (s *Store) unused(p Prune) ([]*Image, error) {
	all, err := s.List()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return nil, err
	}
	if n, err := s.files.Name(helloName); err == nil && p.All {
		all = append(all, &Image{ID: n.Image, Builtin: Hello})
	}
	var list []*Image
	for _, img := range all {
		if !p.All && len(img.Names) > 0 || unneeded(img, p.Users) != nil {
			continue
		}
		if p.Match != nil {
			whole, err := s.loadNamed(img.ID)
			if err != nil || !p.Match(whole) {
				continue // what it is can't be said, so it isn't meant
			}
		}
		list = append(list, img)
	}
	return list, err
}
