package image

import (
	"context"

	"loper.run/internal/tree"
)

// Dedupe keeps files of equal contents in different layers once, from a size in
// bytes on: as reflinks, which nobody sees and few file systems can, or as hard
// links of files that are alike in all but their name, which a container sees by
// their link count. For hard links, layers that containers are made of are left
// alone. It does nothing while others use the store.
func (s *Store) Dedupe(ctx context.Context, hardlink bool, min int64) (tree.Shared, error) {
	return s.files.Dedupe(ctx, tree.Share{Hardlink: hardlink, Min: min})
}
