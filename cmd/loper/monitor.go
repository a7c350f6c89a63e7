package main

import (
	"github.com/spf13/cobra"

	"loper.run/container/monitor"
)

// newMonitor is the process beside a running container. main takes a shorter
// way to it; this is for `loper help`, and for global flags before it.
func newMonitor(*cli) *cobra.Command {
	return &cobra.Command{
		Use:    "monitor DIR",
		Short:  "Look after a running container",
		Hidden: true,
		Args:   exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return exit(monitor.Main(args[0]), nil)
		},
	}
}
