package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newStop(c *cli) *cobra.Command {
	var timeout *int
	var signal string
	cmd := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop running containers",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.containers(args, func(ctr *container.Container) error {
				return ctr.Stop(cmd.Context(), container.StopOptions{Signal: signal, Timeout: timeout})
			})
		},
	}
	stopFlags(cmd, &timeout, &signal)
	return cmd
}

// stopFlags declares how stop and restart end a container.
func stopFlags(cmd *cobra.Command, timeout **int, signal *string) {
	f := cmd.Flags()
	f.VarP(number(timeout), "timeout", "t", "Seconds to wait before the container is killed; -1 waits for ever")
	f.Var(number(timeout), "time", "Seconds, as --timeout")
	f.Lookup("time").Hidden = true
	f.StringVarP(signal, "signal", "s", "", "Signal to send to the container")
}
