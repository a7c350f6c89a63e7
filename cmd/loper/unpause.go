package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newUnpause(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "unpause CONTAINER [CONTAINER...]",
		Short:             "Let the processes of paused containers go on",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Paused),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.containers(args, (*container.Container).Unpause)
		},
	}
}
