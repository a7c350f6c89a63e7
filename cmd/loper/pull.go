package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"loper.run/image"
)

func newPull(c *cli) *cobra.Command {
	var platform string
	var quiet bool
	var signed trustFlags
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			out := io.Writer(c.out)
			if quiet {
				out = nil
			}
			options, err := signed.options()
			if err != nil {
				return err
			}
			img, err := c.pullImage(cmd.Context(), store, args[0], image.PullOptions{Platform: platform, Trust: options}, out)
			if err != nil {
				return err
			}
			name := img.PulledAs
			if name == "" {
				name = args[0] // built in
			}
			fmt.Fprintln(c.out, name)
			return nil
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "Platform of the image, as in linux/arm64")
	signed.add(cmd.Flags())
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	return cmd
}
