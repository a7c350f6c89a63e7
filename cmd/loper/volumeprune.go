package main

import "github.com/spf13/cobra"

func newVolumePrune(c *cli) *cobra.Command {
	p := &pruning{c: c}
	var all bool
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove volumes that no container uses",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove anonymous local volumes not used by at least one container."
			if all {
				warning = "This will remove all local volumes not used by at least one container."
			}
			if ok, err := p.begin(warning, "all"); !ok {
				return err
			}
			if asked, given, err := p.filters.bool("all"); err != nil {
				return err
			} else if given {
				all = asked
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if err := p.volumes(cmd.Context(), e, all, nil); err != nil {
				return err
			}
			return p.end()
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "All unused volumes, not only those without a name of their own")
	return cmd
}
