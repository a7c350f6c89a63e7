package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newPull(c *cli) *cobra.Command {
	var platform string
	var quiet bool
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
			if _, err := pullImage(cmd.Context(), store, args[0], platform, out); err != nil {
				return err
			}
			name, err := fullName(args[0])
			if err == nil {
				fmt.Fprintln(c.out, name)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "Platform of the image, as in linux/arm64")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	return cmd
}
