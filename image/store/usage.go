package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"loper.run/image/oci"
	"loper.run/internal/flock"
	"loper.run/internal/tree"
)

// Depth is how many words of a path below the root name what is counted as one:
// layer/sha256/<hex> and the like.
const Depth = 3

// Measure tells what the store's parts take on disk, by paths of up to Depth words.
func (s *Store) Measure(ctx context.Context) (map[string]tree.Usage, error) {
	dir, err := os.Open(s.root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	depth := map[string]int{}
	for _, d := range []string{blobDir, layerDir, imageDir, nameDir, partialDir, stagingDir} {
		depth[d] = Depth
	}
	return tree.MeasureMapped(ctx, dir, depth)
}

// part is the path of a digest's content below the root.
func part(kind string, d oci.Digest) string {
	return filepath.Join(kind, d.Algorithm().String(), d.Hex())
}

// IsDownload reports whether a part is a download under way or a layer being
// unpacked.
func IsDownload(part string) bool {
	return strings.HasPrefix(part, partialDir+"/") || strings.HasPrefix(part, stagingDir+"/")
}

// PartsOf returns the parts that an image is made of, its record among them, but
// not its names.
func (s *Store) PartsOf(img Image) []string {
	parts := []string{part(imageDir, img.ID), part(blobDir, img.ID)}
	for _, d := range append(append([]oci.Digest{img.Manifest}, img.Blobs...), img.Packed...) {
		parts = append(parts, part(blobDir, d))
	}
	for _, d := range img.Layers {
		parts = append(parts, part(layerDir, d))
	}
	return parts
}

// PackedPart is the part of a layer as it came.
func (s *Store) PackedPart(d oci.Digest) string { return part(blobDir, d) }

// DropPacked removes layers as they came, which can be fetched again. The error
// is ErrBusy while anybody is inside Use.
func (s *Store) DropPacked(list []oci.Digest) error {
	if len(list) == 0 {
		return nil
	}
	lock, err := flock.TryExclusive(s.path("lock"))
	if errors.Is(err, flock.ErrHeld) {
		return ErrBusy
	}
	if err != nil {
		return fmt.Errorf("drop packed layers: %w", err)
	}
	defer lock.Close()
	for _, d := range list {
		if _, err := s.removeBlob(d); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("drop packed layers: %w", err)
		}
	}
	return nil
}

// Unneeded returns the parts that a Collect would remove if the images that
// without names were deleted, and the containers of the ids beside.
func (s *Store) Unneeded(without func(oci.Digest) bool, beside []string) ([]string, error) {
	needed, loose, _, err := s.needed(without, beside)
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, d := range loose {
		if !needed.blobs[d] {
			parts = append(parts, part(blobDir, d))
		}
	}
	err = s.digests(layerDir, func(d oci.Digest) error {
		if !needed.layers[d] {
			parts = append(parts, part(layerDir, d))
		}
		return nil
	})
	err = errors.Join(err, s.digests(imageDir, func(d oci.Digest) error {
		if without(d) {
			parts = append(parts, part(imageDir, d))
		}
		return nil
	}))
	names, _ := s.Names()
	for _, n := range names {
		if !n.List && len(n.keeping(func(d oci.Digest) bool { return !without(d) }).Images()) == 0 {
			parts = append(parts, filepath.Join(nameDir, fileName(n.Name)))
		}
	}
	return parts, err
}

// Gone adds up the parts that are no longer there.
func (s *Store) Gone(parts map[string]tree.Usage) (sum tree.Usage) {
	for path, u := range parts {
		if _, err := os.Lstat(s.path(path)); errors.Is(err, os.ErrNotExist) {
			sum.Add(u)
		}
	}
	return sum
}

// DropPartials removes the downloads that nobody works on, also those that wait
// to be resumed.
func (s *Store) DropPartials() error { return s.dropPartials(0, &Freed{}) }
