package image

import (
	"context"
	"errors"
	"strings"

	"loper.run/image/store"
)

// verdicts tells of images of which it can't be read any more what was decided
// about their signatures. They don't run until it is decided again.
func (c *checker) verdicts(ctx context.Context) error {
	for _, rec := range c.Images {
		if _, err := c.s.verdicts(rec.ID); err != nil && !isNotExist(err) {
			c.report(Problem{Kind: "image", Name: rec.ID.String(), What: "verdict about its signatures is " + plainly(err), Images: c.called(rec.ID)}, func() (string, error) {
				return "decided again", c.decideAgain(ctx, rec)
			})
		}
	}
	return ctx.Err()
}

// decideAgain pulls an image by each of its names, which fetches no more than
// manifests and signatures of one that is here.
func (c *checker) decideAgain(ctx context.Context, rec store.Image) error {
	err := errNoSource
	for _, n := range c.Names {
		if !n.Has(rec.ID) || strings.Contains(n.Name, "@") {
			continue
		}
		if e := c.pullAgain(ctx, n); e != nil {
			return e
		}
		err = nil
	}
	if err == nil {
		if _, e := c.s.verdicts(rec.ID); errors.Is(e, store.ErrDamaged) {
			return errNoSource
		}
	}
	return err
}
