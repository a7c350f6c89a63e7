package main

import "github.com/spf13/cobra"

func newRename(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Short:             "Rename a container",
		Args:              exactly(2),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(_ *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			return ctr.Rename(args[1])
		},
	}
}
