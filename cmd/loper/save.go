package main

import (
	"errors"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"loper.run/image"
	"loper.run/image/archive"
)

func newSave(c *cli) *cobra.Command {
	var output, format, platform string
	cmd := &cobra.Command{
		Use:               "save [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Save images to a file or standard output",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			form, err := archive.ParseForm(format)
			if err != nil {
				return err
			}
			store, err := c.images()
			if err != nil {
				return err
			}
			w, err := c.createArchive(output, form)
			if err != nil {
				return err
			}
			defer w.Abort()
			if err := store.Save(cmd.Context(), w, args, platform); err != nil {
				if errors.Is(err, image.ErrNotFound) && len(args) == 1 {
					return noSuch("image", args[0])
				}
				return err
			}
			return w.Finish()
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "", "File or directory to write, instead of standard output")
	f.StringVar(&format, "format", "", "docker-archive, oci-archive, oci-dir or docker-dir")
	f.StringVar(&platform, "platform", "", "Platform to save of an image that has several, as in linux/arm64")
	f.BoolP("multi-image-archive", "m", false, "All arguments are images (they always are)")
	f.BoolP("quiet", "q", false, "Show no progress (none is shown)")
	return cmd
}

// createArchive begins an archive of images at a path, or on standard output.
func (c *cli) createArchive(path string, form archive.Form) (*archive.Writer, error) {
	switch {
	case path != "":
		return archive.Create(path, form)
	case term.IsTerminal(int(c.out.Fd())):
		return nil, errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	return archive.NewWriter(c.out, form)
}
