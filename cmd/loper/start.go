package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newStart(c *cli) *cobra.Command {
	var follow, interactive, sigProxy bool
	var keys string
	cmd := &cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Start containers that do not run",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Created, container.Exited),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !follow && !interactive {
				return c.containers(args, func(ctr *container.Container) error {
					return ctr.Start(container.StartOptions{})
				})
			}
			if len(args) > 1 {
				return fmt.Errorf("you cannot start and attach multiple containers at once")
			}
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			s := session{out: c.out, err: c.err, detachKeys: keys, sigProxy: sigProxy}
			if interactive {
				s.in = c.in
			}
			return s.start(cmd.Context(), ctr)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "attach", "a", false, "Attach to the outputs and pass signals on")
	f.BoolVarP(&interactive, "interactive", "i", false, "Attach to the input as well")
	f.StringVar(&keys, "detach-keys", "", "Keys that detach from the container")
	f.BoolVar(&sigProxy, "sig-proxy", true, "Pass signals on to the container")
	return cmd
}
