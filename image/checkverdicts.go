package image

import (
	"context"
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

// decideAgain pulls an image from a repository that it came from, which fetches
// no more than manifests and signatures of one that is here. Tags are not asked
// for: some were given here, and no registry has heard of them.
func (c *checker) decideAgain(ctx context.Context, rec store.Image) error {
	failed := errNoSource
	for _, n := range c.Names {
		if !n.Has(rec.ID) || !strings.Contains(n.Name, "@") {
			continue
		}
		err := c.pullAgain(ctx, n)
		if err == nil {
			_, err = c.s.verdicts(rec.ID)
		}
		if err == nil {
			return nil
		}
		failed = err
	}
	return failed
}
