package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newRestart(c *cli) *cobra.Command {
	var timeout *int
	var signal string
	cmd := &cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop and start containers",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.containers(args, func(ctr *container.Container) error {
				if err := ctr.Stop(cmd.Context(), container.StopOptions{Signal: signal, Timeout: timeout}); err != nil {
					return err
				}
				return ctr.Start(container.StartOptions{})
			})
		},
	}
	stopFlags(cmd, &timeout, &signal)
	return cmd
}
