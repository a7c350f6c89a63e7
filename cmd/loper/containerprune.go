package main

import "github.com/spf13/cobra"

func newContainerPrune(c *cli) *cobra.Command {
	p := &pruning{c: c}
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove all containers that do not run",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ok, err := p.begin("This will remove all stopped containers.", "until"); !ok {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if _, err := p.containers(cmd.Context(), e); err != nil {
				return err
			}
			return p.end()
		},
	}
	p.flags(cmd)
	return cmd
}
