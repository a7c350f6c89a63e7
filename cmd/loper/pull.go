package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/progress"
	"loper.run/image/reference"
)

// pulling is what the flags of pull say.
type pulling struct {
	image.PullOptions
	signed     trustFlags
	policy     string
	retry      int
	quiet, all bool
	where      registryAccess
}

func newPull(c *cli) *cobra.Command {
	var p pulling
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&p.where)
			if err != nil {
				return err
			}
			if p.retry < 0 {
				return fmt.Errorf("--retry: %d is less than none", p.retry)
			}
			p.Tries = p.retry + 1
			if p.Trust, err = p.signed.options(); err != nil {
				return err
			}
			name := strings.TrimPrefix(args[0], "docker://") // as podman has it
			if p.all {
				return c.pullAll(cmd.Context(), store, name, &p)
			}
			name, err = c.pullOne(cmd.Context(), store, name, &p)
			if err == nil {
				fmt.Fprintln(c.out, name)
			}
			return err
		},
	}
	p.where.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&p.all, "all-tags", "a", false, "Download all tagged images of the repository")
	f.StringVar(&p.Platform, "platform", "", "Platform of the image, as in linux/arm64")
	f.BoolVar(&p.AllPlatforms, "all-platforms", false, "Download the images for all platforms")
	f.StringVar(&p.policy, "policy", "always", "When to ask the registry: always, missing, newer or never")
	p.signed.add(f)
	f.BoolVarP(&p.quiet, "quiet", "q", false, "Show no progress")
	f.IntVar(&p.retry, "retry", 4, "How often to try again what failed by bad luck")
	f.DurationVar(&p.Backoff, "retry-delay", 250*time.Millisecond, "Pause before the first retry, twice as long before each further one")
	return cmd
}

func (p *pulling) out(c *cli) io.Writer {
	if p.quiet {
		return nil
	}
	return c.out
}

// pullOne returns the name by which the image can be found.
func (c *cli) pullOne(ctx context.Context, store *image.Store, name string, p *pulling) (string, error) {
	switch p.policy {
	case "always":
	case "missing", "never", "newer":
		img, err := store.FindFor(name, p.Platform)
		if err != nil && !errors.Is(err, image.ErrNotFound) {
			return "", err
		}
		switch {
		case err == nil && p.policy == "newer": // the one that is there will do
			pulled, err := c.pullImage(ctx, store, name, p.PullOptions, p.out(c))
			if err == nil {
				return pulledAs(pulled, name), nil
			}
			fmt.Fprintf(c.err, "Warning: %v; the image that is there stays\n", err)
			fallthrough
		case err == nil:
			return pulledAs(img, name), nil
		case p.policy == "never":
			return "", noSuch("image", name)
		}
	default:
		return "", fmt.Errorf("invalid --policy %q: it is always, missing, newer or never", p.policy)
	}
	img, err := c.pullImage(ctx, store, name, p.PullOptions, p.out(c))
	if err != nil {
		return "", err
	}
	return pulledAs(img, name), nil
}

// pulledAs is the full name of an image that was asked for by name.
func pulledAs(img *image.Image, name string) string {
	if img.PulledAs != "" {
		return img.PulledAs
	}
	if ref, err := reference.Parse(name); err == nil && img.Builtin == "" {
		return ref.WithDefaultTag().String()
	}
	return name
}

func (c *cli) pullAll(ctx context.Context, store *image.Store, name string, p *pulling) error {
	if p.policy != "always" {
		return errors.New("--all-tags asks the registry: it goes with no other --policy than always")
	}
	if out := p.out(c); out != nil {
		display := progress.New(out)
		defer display.Close()
		p.Progress = display
	}
	all, err := store.PullAll(ctx, name, p.PullOptions)
	if len(all) > 0 {
		if ref, err := reference.Parse(all[0].PulledAs); err == nil {
			fmt.Fprintln(c.out, ref.Name())
		}
	}
	return err
}
