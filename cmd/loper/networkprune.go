package main

import (
	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/network"
)

func newNetworkPrune(c *cli) *cobra.Command {
	p := &pruning{c: c}
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove networks that no container uses",
		Args:  exactly(0),
		RunE: func(*cobra.Command, []string) error {
			if ok, err := p.begin("This will remove all custom networks not used by at least one container.", "until"); !ok {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			return p.networks(e, nil)
		},
	}
	p.flags(cmd)
	return cmd
}

// networks removes the networks that no container is connected to, nor will be
// when it is started. Containers that are gone are taken for removed.
func (p *pruning) networks(e *container.Engine, gone []string) error {
	used, err := networkUse(e, gone...)
	if err != nil {
		return err
	}
	names, err := e.Networks.Prune(func(n *network.Network) bool { return !used(n) && p.matches(n.Created, n.Labels) }, p.dryRun)
	p.told("Networks", names, 0)
	return err
}
