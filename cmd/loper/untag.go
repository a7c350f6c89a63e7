package main

import (
	"errors"

	"github.com/spf13/cobra"

	"loper.run/image"
)

func newUntag(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "untag IMAGE [NAME...]",
		Short:             "Take names from an image, which stays: those that are given, or all",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			err = store.Untag(cmd.Context(), args[0], args[1:])
			if errors.Is(err, image.ErrNotFound) {
				err = noSuch("image", args[0])
			}
			return err
		},
	}
}
