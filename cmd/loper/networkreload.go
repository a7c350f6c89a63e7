package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
)

func newNetworkReload(c *cli) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "reload [OPTIONS] [CONTAINER...]",
		Short: "Put back what somebody took away of running containers' networks",
		Long: `Put back what somebody took away of running containers' networks: bridges, and
the rules for addresses and published ports, also those in the chains of the
host's own firewall. Without containers that is done for all that run. Rules
come back by themselves, too, mostly within half a second; bridges don't.`,
		ValidArgsFunction: c.completeContainers(container.Running, container.Paused),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			if len(args) == 0 || all {
				if args, err = runningNames(e); err != nil {
					return err
				}
			}
			if len(args) > 0 {
				err = c.containers(args, (*container.Container).RepairNetwork)
			}
			if rules := e.RepairRules(); rules != nil {
				return rules
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "All running containers")
	return cmd
}

// runningNames are the containers that run.
func runningNames(e *container.Engine) ([]string, error) {
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, ctr := range list {
		if isOneOf(ctr, []container.State{container.Running, container.Paused}) {
			names = append(names, ctr.Name)
		}
	}
	return names, nil
}
