package image

import (
	"loper.run/image/layer"
	"loper.run/internal/userns"
)

// unpackOptions says how layers are unpacked. An ordinary user's overlay is
// mounted inside a user namespace, which decides about its marks; with one id
// mapped, that is who owns everything.
func (s *Store) unpackOptions() (layer.Options, error) {
	if !s.mapped {
		return layer.Options{}, nil
	}
	uids, gids, err := userns.Mappings()
	if err != nil {
		return layer.Options{}, err
	}
	return layer.Options{UserXattr: true, SingleID: userns.Single(uids) || userns.Single(gids)}, nil
}
