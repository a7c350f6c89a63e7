package image

import (
	"context"
	"errors"
	"fmt"

	"loper.run/image/reference"
)

// PullAll is Pull for every tag of a repository. A tag that cannot be had is no
// reason not to get the others: they are returned beside the error.
func (s *Store) PullAll(ctx context.Context, name string, o PullOptions) ([]*Image, error) {
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	refs, _, err := candidates(name, o.Choose)
	if err != nil {
		return nil, err
	}
	for i, ref := range refs {
		if ref.Tag != "" || !ref.Digest.IsZero() {
			return nil, fmt.Errorf("all tags of %s are wanted, but it names one of them", ref.Familiar())
		}
		tags, err := s.tags(ctx, ref, o)
		if err != nil && i < len(refs)-1 && ctx.Err() == nil {
			continue // another registry may have that short name
		}
		if err != nil {
			return nil, fmt.Errorf("pull all tags of %s: %w", ref.Familiar(), err)
		}
		return s.pullTags(ctx, ref, tags, o)
	}
	return nil, nil
}

func (s *Store) tags(ctx context.Context, ref reference.Reference, o PullOptions) ([]string, error) {
	client, err := s.connect(ref.Domain, o.Progress)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	client.Tries, client.Backoff = o.Tries, o.Backoff
	tags, err := client.Tags(ctx, ref.Path)
	if err == nil && len(tags) == 0 {
		err = errors.New("there are none")
	}
	return tags, err
}

func (s *Store) pullTags(ctx context.Context, ref reference.Reference, tags []string, o PullOptions) (all []*Image, err error) {
	failed := 0
	var first error
	for _, tag := range tags {
		one, err := reference.Parse(ref.Name() + ":" + tag)
		var img *Image
		if err == nil {
			img, err = s.pullPlatforms(ctx, one, o)
		}
		if ctx.Err() != nil {
			return all, err
		}
		if err == nil {
			all = append(all, img)
			continue
		}
		o.Progress.Message(err.Error())
		if failed++; first == nil {
			first = err
		}
	}
	if failed > 1 {
		return all, fmt.Errorf("%d of %d tags failed: %w", failed, len(tags), first)
	}
	return all, first
}
