package main

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/oci"
)

func newImageTree(c *cli) *cobra.Command {
	var whatRequires bool
	cmd := &cobra.Command{
		Use:               "tree [OPTIONS] IMAGE",
		Short:             "Show an image's layers, and whose they are too",
		Args:              exactly(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			img, err := resolve(store, args[0])
			if err != nil {
				return err
			}
			all, err := store.List()
			if err != nil {
				c.warn("%v", err)
			}
			t := imageTree{c: c, store: store, all: all}
			fmt.Fprintf(c.out, "Image ID: %s\nTags:     %s\nSize:     %s\nImage Layers\n",
				img.ID.Short(), img.Names, units.HumanSizeWithPrecision(float64(img.Size), 4))
			if whatRequires {
				return t.above(img.DiffIDs, "")
			}
			for i, d := range img.DiffIDs {
				if err := t.line(img.DiffIDs[:i+1], d, "", i == len(img.DiffIDs)-1); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&whatRequires, "whatrequires", false, "Show the images that are made on top of this one")
	return cmd
}

// imageTree prints layers among all images.
type imageTree struct {
	c     *cli
	store *image.Store
	all   []*image.Image
}

// line prints the topmost of a stack of layers, with the images that end there.
func (t *imageTree) line(stack []oci.Digest, d oci.Digest, indent string, last bool) error {
	size, err := t.store.LayerSize(d)
	if err != nil {
		return err
	}
	branch := "├── "
	if last {
		branch = "└── "
	}
	text := fmt.Sprintf("%s%s ID: %s Size: %7s", indent, branch, d.Short(), units.HumanSizeWithPrecision(float64(size), 4))
	if names := t.endAt(stack); len(names) > 0 {
		text += " Top Layer of: [" + strings.Join(names, " ") + "]"
	}
	_, err = fmt.Fprintln(t.c.out, text)
	return err
}

func (t *imageTree) endAt(stack []oci.Digest) (names []string) {
	for _, img := range t.all {
		if len(img.DiffIDs) == len(stack) && begins(img.DiffIDs, stack) {
			names = append(names, img.Names...)
		}
	}
	return names
}

// above prints the layer on top of a stack, and below it what other images put
// there.
func (t *imageTree) above(stack []oci.Digest, indent string) error {
	if len(stack) > 0 {
		if err := t.line(stack, stack[len(stack)-1], indent, true); err != nil {
			return err
		}
	}
	seen := map[oci.Digest]bool{}
	for _, img := range t.all {
		if len(img.DiffIDs) <= len(stack) || !begins(img.DiffIDs, stack) {
			continue
		}
		next := img.DiffIDs[:len(stack)+1]
		if d := next[len(stack)]; !seen[d] {
			seen[d] = true
			if err := t.above(next, indent+"    "); err != nil {
				return err
			}
		}
	}
	return nil
}

func begins(layers, with []oci.Digest) bool {
	for i, d := range with {
		if layers[i] != d {
			return false
		}
	}
	return true
}
