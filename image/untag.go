package image

import (
	"context"
	"fmt"
	"slices"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Untag takes names from an image, all when none are given. The image stays,
// also without any.
func (s *Store) Untag(ctx context.Context, name string, names []string) error {
	if name == Host || name == Hello {
		return fmt.Errorf("image %s is built in", name)
	}
	id, err := s.find(name)
	if err != nil {
		return err
	}
	mine, err := s.namesOf(id)
	if err != nil {
		return err
	}
	gone := mine
	if len(names) > 0 {
		gone = nil
	}
	for _, word := range names {
		ref, err := reference.Parse(word)
		if err != nil {
			return err
		}
		if !ref.Digest.IsZero() {
			ref.Tag = ""
		}
		if ref = ref.WithDefaultTag(); !slices.Contains(mine, ref) {
			return fmt.Errorf("%s is no name of image %s", word, id.Short())
		}
		gone = append(gone, ref)
	}
	return s.dropNames(ctx, id, gone)
}

// dropNames takes names from an image that is wanted without them.
func (s *Store) dropNames(ctx context.Context, id oci.Digest, gone []reference.Reference) error {
	release, err := s.files.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	rec, err := s.files.Image(id)
	if err != nil {
		return err
	}
	if !rec.Kept {
		rec.Kept = true
		if err := s.files.PutImage(rec); err != nil {
			return err
		}
	}
	for _, ref := range gone {
		n, err := s.files.Name(ref.String())
		if err == nil && n.Has(id) && len(n.Images()) > 1 {
			err = s.files.UpdateName(n.Name, func(n store.Name) (store.Name, error) { return n.Without(id), nil })
		} else if err == nil {
			err = s.files.DeleteName(n.Name)
		}
		if err != nil && !isNotExist(err) {
			return err
		}
	}
	return nil
}
