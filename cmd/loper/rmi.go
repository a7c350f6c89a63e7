package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/oci"
)

func newRmi(c *cli) *cobra.Command {
	var force bool
	var platform string
	cmd := &cobra.Command{
		Use:               "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Remove images",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				untagged, deleted, err := e.Images.RemoveFor(name, platform, force, func(id oci.Digest) []string { return e.UsersOf(id.String()) })
				if errors.Is(err, image.ErrNotFound) {
					err = noSuch("image", name)
					if force {
						c.report(nil, err)
						return nil
					}
				}
				for _, name := range untagged {
					fmt.Fprintln(c.out, "Untagged: "+name)
				}
				for _, id := range deleted {
					fmt.Fprintln(c.out, "Deleted: "+id)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Remove the image though containers that do not run were made of it")
	f.StringVar(&platform, "platform", "", "Only the image for this platform, as in linux/arm64")
	f.Bool("no-prune", false, "Do not remove untagged parents (there are none)")
	return cmd
}
