package image

import (
	"errors"
	"fmt"

	"loper.run/image/oci"
	"loper.run/image/store"
	"loper.run/internal/tree"
)

// Usage is what the images take on disk, in bytes as du counts them.
type Usage struct {
	Images []ImageUsage
	// Disk is everything but downloads; Reclaimable is what would be free of it
	// without the images that nobody uses.
	Disk, Reclaimable int64
	// Downloads are partial ones, and layers being unpacked.
	Downloads int64
}

// ImageUsage is what one image takes on disk.
type ImageUsage struct {
	*Image
	// Unique is what only this image has, and Shared what others have too.
	Unique, Shared int64
	// Users are the containers made from it.
	Users []string
}

// UsageDepth is how many words the paths of parts have for Usage.
const UsageDepth = store.Depth

// Usage adds up the store from what its parts take, by paths below its root.
// users tells which containers need an image. Damaged records are told in the
// error, beside what is known.
func (s *Store) Usage(parts map[string]tree.Usage, users func(id oci.Digest) []string) (Usage, error) {
	var u Usage
	for path, part := range parts {
		if store.IsDownload(path) {
			u.Downloads += part.Disk
		} else {
			u.Disk += part.Disk
		}
	}
	recs, damaged := s.files.Images()
	times := map[string]int{}
	partsOf := map[oci.Digest][]string{}
	for _, rec := range recs {
		seen := map[string]bool{}
		for _, path := range s.files.PartsOf(rec) {
			if !seen[path] {
				seen[path] = true
				times[path]++
				partsOf[rec.ID] = append(partsOf[rec.ID], path)
			}
		}
	}
	used := map[oci.Digest]bool{}
	for _, rec := range recs {
		used[rec.ID] = len(users(rec.ID)) > 0
	}
	imgs, err := s.List()
	if err != nil && !errors.Is(err, store.ErrDamaged) {
		return u, err
	}
	for _, img := range imgs {
		usage := ImageUsage{Image: img, Users: users(img.ID)}
		for _, path := range partsOf[img.ID] {
			if times[path] > 1 {
				usage.Shared += parts[path].Disk
			} else {
				usage.Unique += parts[path].Disk
			}
		}
		u.Images = append(u.Images, usage)
	}
	free, err := s.files.Unneeded(func(d oci.Digest) bool { used, known := used[d]; return known && !used }, nil)
	if err != nil {
		return u, fmt.Errorf("what nobody needs: %w", err)
	}
	for _, path := range free {
		u.Reclaimable += parts[path].Disk
	}
	return u, damaged
}
