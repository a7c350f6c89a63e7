package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newAttach(c *cli) *cobra.Command {
	var noStdin, sigProxy bool
	var keys string
	cmd := &cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Connect to the input and the outputs of a running container",
		Args:              exactly(1),
		ValidArgsFunction: c.completeContainers(container.Running),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			switch status, err := ctr.Status(); {
			case err != nil:
				return err
			case status.State == container.Paused:
				return fmt.Errorf("you cannot attach to a paused container, unpause it first")
			case status.State != container.Running:
				return fmt.Errorf("you cannot attach to a stopped container, start it first")
			}
			s := session{out: c.out, err: c.err, detachKeys: keys, sigProxy: sigProxy}
			if !noStdin && ctr.Settings.OpenStdin {
				s.in = c.in
			}
			return s.attach(cmd.Context(), ctr)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&noStdin, "no-stdin", false, "Do not attach the input")
	f.BoolVar(&sigProxy, "sig-proxy", true, "Pass signals on to the container")
	f.StringVar(&keys, "detach-keys", "", "Keys that detach from the container")
	return cmd
}
