package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"loper.run/image"
	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/progress"
)

func newLoad(c *cli) *cobra.Command {
	var input string
	var quiet bool
	var o image.LoadOptions
	var signed trustFlags
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load images from a file or standard input, as docker, podman or skopeo saved them",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			from, err := c.openArchive(cmd.Context(), store, input)
			if err != nil {
				return err
			}
			defer from.Close()
			if !quiet && term.IsTerminal(int(c.err.Fd())) {
				display := progress.New(c.err)
				defer display.Close()
				o.Progress = display
			}
			if o.Trust, err = signed.options(); err != nil {
				return err
			}
			var ids []oci.Digest
			loaded, err := store.Load(cmd.Context(), from, o)
			for _, img := range loaded {
				for _, name := range img.Names {
					fmt.Fprintln(c.out, "Loaded image: "+name)
				}
				if len(img.Names) == 0 {
					fmt.Fprintln(c.out, "Loaded image ID: "+img.ID.String())
				}
				ids = append(ids, img.ID)
			}
			c.keepWithin(cmd.Context(), ids...)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&input, "input", "i", "", "File or directory to read, instead of standard input")
	signed.add(f)
	f.BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	f.StringVar(&o.Platform, "platform", "", "Platform to load of an image that has several, as in linux/arm64")
	return cmd
}

// openArchive opens the archive of images at a path, or standard input.
func (c *cli) openArchive(ctx context.Context, store *image.Store, path string) (*archive.Archive, error) {
	f := c.in
	switch {
	case path != "":
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if st.IsDir() {
			return archive.ReadDir(ctx, path)
		}
		if f, err = os.Open(path); err != nil {
			return nil, err
		}
	case term.IsTerminal(int(f.Fd())):
		return nil, errors.New("requested load from stdin, but stdin is empty")
	}
	return store.OpenArchive(ctx, f)
}
