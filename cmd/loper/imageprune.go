package main

import "github.com/spf13/cobra"

func newImagePrune(c *cli) *cobra.Command {
	p := &pruning{c: c}
	var all bool
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove images that no container uses",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove all dangling images."
			if all {
				warning = "This will remove all images without at least one container associated to them."
			}
			if p.keep > 0 {
				warning = "This will remove the images and packed layers that were used longest ago, until the rest fits."
			}
			if ok, err := p.begin(warning, "until"); !ok {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if err := p.images(cmd.Context(), e, all, all, nil); err != nil {
				return err
			}
			return p.end()
		},
	}
	p.flags(cmd)
	p.budgetFlag(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "All images without containers, not only those without a tag, and unfinished downloads")
	return cmd
}
