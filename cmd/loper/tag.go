package main

import "github.com/spf13/cobra"

func newTag(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:             "Give an image another name",
		Args:              exactly(2),
		ValidArgsFunction: c.completeImages,
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			if _, err := resolve(store, args[0]); err != nil {
				return err
			}
			return store.Tag(args[0], args[1])
		},
	}
}
