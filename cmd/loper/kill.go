package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newKill(c *cli) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:               "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Send a signal to running containers",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := container.ParseSignal(name)
			if err != nil {
				return fmt.Errorf("--signal: %w", err)
			}
			return c.containers(args, func(ctr *container.Container) error { return ctr.Kill(sig) })
		},
	}
	cmd.Flags().StringVarP(&name, "signal", "s", "KILL", "Signal to send to the container")
	return cmd
}
