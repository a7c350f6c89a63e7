package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

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
	options, err := n.trust.options()
	if err != nil {
		return nil, err
	}
	if n.pull != "always" || isBuiltin(name) {
		img, err := store.FindFor(name, n.platform)
		if err == nil {
			if err = store.Allow(ctx, img, options); err == nil || store.Has(img.ID) {
				return img, err
			}
			err = image.ErrNotFound // removed in this moment
		}
		if !errors.Is(err, image.ErrNotFound) {
			return nil, err
		}
		if n.pull == "never" || isBuiltin(name) {
			return nil, noSuch("image", name)
		}
	}
	if n.quiet {
		return c.pullImage(ctx, store, name, image.PullOptions{Platform: n.platform, Trust: options}, nil)
	}
	if ref, err := reference.Parse(name); err == nil && n.pull != "always" {
		fmt.Fprintf(c.err, "Unable to find image '%s' locally\n", ref.WithDefaultTag().Familiar())
	}
	return c.pullImage(ctx, store, name, image.PullOptions{Platform: n.platform, Trust: options}, c.err)
}

// isBuiltin reports whether an image needs no registry.
func isBuiltin(name string) bool { return name == image.Host || name == image.Hello }

// pullImage pulls with progress shown on out, which may be nil.
func (c *cli) pullImage(ctx context.Context, store *image.Store, name string, o image.PullOptions, out io.Writer) (*image.Image, error) {
	if isTerminal(c.in) && isTerminal(c.err) {
		o.Choose = c.choose
	}
	if out != nil {
		display := progress.New(out)
		defer display.Close()
		o.Progress = display
	}
	img, err := store.Pull(ctx, name, o)
	if err == nil {
		c.keepWithin(ctx, img.ID)
	}
	return img, err
}

// choose asks on the terminal which of several names is meant.
func (c *cli) choose(short string, names []string) (int, error) {
	fmt.Fprintf(c.err, "The short name %s could be:\n", short)
	for i, name := range names {
		fmt.Fprintf(c.err, "  %d: %s\n", i+1, name)
	}
	fmt.Fprintf(c.err, "Which one is meant (1-%d)? ", len(names))
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if n, convErr := strconv.Atoi(strings.TrimSpace(line)); convErr == nil && n >= 1 && n <= len(names) {
		return n - 1, nil
	}
	if err == nil {
		err = fmt.Errorf("%.60q is none of them", strings.TrimSpace(line))
	}
	return 0, fmt.Errorf("short name %s: %w", short, err)
}
