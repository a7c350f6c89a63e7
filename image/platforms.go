package image

import (
	"context"
	"fmt"
	"slices"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// pullPlatforms pulls the image of a reference, or those for all platforms that it
// has, of which it returns the one that fits this machine best.
func (s *Store) pullPlatforms(ctx context.Context, ref reference.Reference, o PullOptions) (*Image, error) {
	if !o.AllPlatforms {
		return s.pullRef(ctx, ref, o)
	}
	platforms, err := s.offered(ctx, ref.WithDefaultTag(), o.Progress)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref.Familiar(), err)
	}
	if len(platforms) == 0 {
		return s.pullRef(ctx, ref, o)
	}
	var best *Image
	for _, p := range platforms {
		o.Platform = p.String()
		img, err := s.pullRef(ctx, ref, o)
		if err != nil {
			return nil, err
		}
		if best == nil || oci.Host().Fit(p) > oci.Host().Fit(best.Platform) {
			best = img
		}
	}
	return best, nil
}

// offered asks a registry for the platforms of an image.
func (s *Store) offered(ctx context.Context, ref reference.Reference, show Progress) ([]oci.Platform, error) {
	client, err := s.connect(ref.Domain, show)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	p := &pull{s: s, ref: ref, client: client, show: show}
	top, err := p.top(ctx)
	if err != nil {
		return nil, err
	}
	all, err := p.platforms(ctx, top, 0)
	var distinct []oci.Platform
	for _, one := range all {
		if !slices.ContainsFunc(distinct, func(d oci.Platform) bool { return d.String() == one.String() }) {
			distinct = append(distinct, one)
		}
	}
	return distinct, err
}

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
