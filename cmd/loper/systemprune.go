package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newSystemPrune(c *cli) *cobra.Command {
	p := &pruning{c: c}
	var all, volumes bool
	cmd := &cobra.Command{
		Use:   "prune [OPTIONS]",
		Short: "Remove what nobody uses: containers, networks, images and, if asked, volumes",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
			if volumes {
				warning += "  - all anonymous volumes not used by at least one container\n"
			}
			if p.keep > 0 {
				warning += "  - the images and packed layers that were used longest ago, until the rest fits\n"
			} else if all {
				warning += "  - all images without at least one container associated to them\n"
			} else {
				warning += "  - all dangling images\n"
			}
			warning += "  - unfinished downloads\n"
			if len(p.words) > 0 {
				warning += "\n  Items to be pruned will be filtered with:\n"
				for _, word := range p.words {
					warning += "  - " + word + "\n"
				}
			}
			ok, err := p.begin(warning, "until")
			if err == nil && volumes && !p.until.IsZero() {
				err = errors.New(`ERROR: The "until" filter is not supported with "--volumes"`)
			}
			if !ok || err != nil {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			gone, err := p.containers(cmd.Context(), e)
			if err != nil {
				return err
			}
			if err := p.networks(e, gone); err != nil {
				return err
			}
			if volumes {
				if err := p.volumes(cmd.Context(), e, false, gone); err != nil {
					return err
				}
			}
			if err := p.images(cmd.Context(), e, all, true, gone); err != nil {
				return err
			}
			return p.end()
		},
	}
	p.flags(cmd)
	p.budgetFlag(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "All images without containers, not only those without a tag")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "Anonymous volumes as well")
	return cmd
}
