package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVolumeCreate(c *cli) *cobra.Command {
	var words []string
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Make a volume",
		Args:  between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			labels, err := keyValues(nil, words)
			if err != nil {
				return err
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			v, err := e.VolumeCreate(name, labels)
			if err == nil {
				fmt.Fprintln(c.out, v.Name)
			}
			return err
		},
	}
	cmd.Flags().Var(list(&words), "label", "Set a label on the volume")
	return cmd
}
