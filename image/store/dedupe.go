package store

import (
	"context"
	"errors"
	"fmt"
	"os"

	"loper.run/internal/flock"
	"loper.run/internal/tree"
)

// Dedupe keeps files of equal contents in different layers once. The error is
// ErrBusy while anybody is inside Use.
func (s *Store) Dedupe(ctx context.Context, o tree.Share) (tree.Shared, error) {
	lock, err := flock.TryExclusive(s.path("lock"))
	if errors.Is(err, flock.ErrHeld) {
		return tree.Shared{}, ErrBusy
	}
	if err != nil {
		return tree.Shared{}, fmt.Errorf("dedupe: %w", err)
	}
	defer lock.Close()
	if o.Hardlink && s.InUse != nil {
		dirs, err := s.InUse(nil)
		if err != nil {
			return tree.Shared{}, fmt.Errorf("dedupe: what containers need: %w", err)
		}
		for _, dir := range dirs {
			if d, ok := s.layerOf(dir); ok {
				o.Skip = append(o.Skip, d.Algorithm().String()+"/"+d.Hex())
			}
		}
	}
	dir, err := os.Open(s.path(layerDir))
	if err != nil {
		return tree.Shared{}, fmt.Errorf("dedupe: %w", err)
	}
	defer dir.Close()
	done, err := tree.ShareMapped(ctx, dir, o)
	if err != nil {
		err = fmt.Errorf("dedupe: %w", err)
	}
	return done, err
}
