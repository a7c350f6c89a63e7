package image

import (
	"slices"

	"loper.run/image/oci"
	"loper.run/image/store"
)

// nameImage gives an image a name, which stands for target: the image's
// manifest, or an index that has it for one platform. Images that the same
// index has for others keep the name too, and the one that fits this machine
// best is what the name means where no platform is asked for.
func (s *Store) nameImage(name string, id, target oci.Digest) error {
	if n, err := s.files.Name(name); err == nil && n.Manifest == target && n.Has(id) {
		return nil
	}
	return s.files.UpdateName(name, func(old store.Name) (store.Name, error) {
		n := store.Name{Image: id, Manifest: target}
		if old.Manifest != target {
			return n, nil
		}
		ids := []oci.Digest{id}
		for _, d := range old.Images() {
			if _, err := s.files.Image(d); err == nil && !slices.Contains(ids, d) {
				ids = append(ids, d)
			}
		}
		ids, _, err := s.byFit(ids, oci.Host())
		if err != nil {
			return n, nil // one whose configuration is damaged has lost its place
		}
		n.Image, n.Others = ids[0], ids[1:]
		return n, nil
	})
}
