package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newWait(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Wait until containers end, and print their exit codes",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				ctr, err := find(e, name)
				if err != nil {
					return err
				}
				code, err := ctr.Wait(cmd.Context())
				if err == nil {
					fmt.Fprintln(c.out, code)
				}
				return err
			})
		},
	}
}
