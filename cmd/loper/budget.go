package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/go-units"

	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/internal/config"
)

// dedupeFrom is the size in bytes from which files are worth it after each pull.
const dedupeFrom = 64 << 10

// keepWithin makes files of different layers be kept once, and removes what was
// used longest ago, when the configuration says so and the images have come to take
// more than the configuration allows. Images just come stay. Nothing fails for it.
func (c *cli) keepWithin(ctx context.Context, come ...oci.Digest) {
	settings, err := config.Load()
	if err != nil {
		c.warn("%v", err)
		return
	}
	way := settings.Image.Dedupe
	if settings.Image.KeepStorage == 0 && !way.Reflink() && !way.Hardlink() {
		return
	}
	e, err := c.engine()
	if err != nil {
		return
	}
	if way.Reflink() || way.Hardlink() {
		if _, err := e.Images.Dedupe(ctx, way.Hardlink(), dedupeFrom); err != nil && !errors.Is(err, image.ErrBusy) {
			c.warn("%v", err)
		}
	}
	if settings.Image.KeepStorage == 0 {
		return
	}
	done, err := e.Images.Shrink(ctx, image.Budget{Bytes: int64(settings.Image.KeepStorage), Keep: come, Users: func(id oci.Digest) []string { return e.UsersOf(id.String()) }})
	if err != nil {
		c.warn("keep-storage: %v", err)
	}
	for _, name := range done.Untagged {
		fmt.Fprintln(c.err, "Untagged: "+name)
	}
	for _, id := range done.Deleted {
		fmt.Fprintln(c.err, "Deleted: "+id)
	}
	if done.Space > 0 {
		fmt.Fprintf(c.err, "Reclaimed %s, to keep within %s\n", units.HumanSize(float64(done.Space)), units.HumanSize(float64(settings.Image.KeepStorage)))
	}
}
