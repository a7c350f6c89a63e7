package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newPause(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "pause CONTAINER [CONTAINER...]",
		Short:             "Pause all processes of containers",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Running),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.containers(args, (*container.Container).Pause)
		},
	}
}
