package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newTop(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "top CONTAINER [ps OPTIONS]",
		Short:             "Show the processes of a container",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(_ *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			processes, err := ctr.Top(args[1:])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.out, 20, 1, 3, ' ', 0)
			fmt.Fprintln(w, strings.Join(processes.Titles, "\t"))
			for _, p := range processes.Processes {
				fmt.Fprintln(w, strings.Join(p, "\t"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}
