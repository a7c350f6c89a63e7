package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/reference"
)

// acquire returns the image that run and create were asked for, pulled when
// the policy says so: always, missing or never. Progress goes to standard
// error, since the container's own output may follow.
func (c *cli) acquire(ctx context.Context, store *image.Store, name string, n *creation) (*image.Image, error) {
	switch n.pull {
	case "always", "missing", "never":
	default:
		return nil, fmt.Errorf("invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", n.pull)
	}
	if _, err := oci.ParsePlatform(n.platform); err != nil {
		return nil, fmt.Errorf("--platform: %w", err)
	}
	if n.pull != "always" || isBuiltin(name) {
		img, err := store.FindFor(name, n.platform)
		if err == nil {
			return img, nil
		}
		if !errors.Is(err, image.ErrNotFound) {
			return nil, err
		}
		if n.pull == "never" || isBuiltin(name) {
			return nil, noSuch("image", name)
		}
	}
	if n.quiet {
		return pullImage(ctx, store, name, n.platform, nil)
	}
	if ref, err := reference.Parse(name); err == nil && n.pull != "always" {
		fmt.Fprintf(c.err, "Unable to find image '%s' locally\n", ref.WithDefaultTag().Familiar())
	}
	return pullImage(ctx, store, name, n.platform, c.err)
}

// isBuiltin reports whether an image needs no registry.
func isBuiltin(name string) bool { return name == image.Host || name == image.Hello }

// pullImage pulls with progress shown on out, which may be nil.
func pullImage(ctx context.Context, store *image.Store, name, platform string, out io.Writer) (*image.Image, error) {
	o := image.PullOptions{Platform: platform}
	if out != nil {
		display := progress.New(out)
		defer display.Close()
		o.Progress = display
	}
	return store.Pull(ctx, name, o)
}

// fullName is the whole name of an image: registry, path and tag or digest.
func fullName(name string) (string, error) {
	ref, err := reference.Parse(name)
	return ref.WithDefaultTag().String(), err
}
