package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newVolumeRm(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] VOLUME [VOLUME...]",
		Short:             "Remove volumes that no container uses",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeVolumes,
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				err := e.VolumeRemove(name, force)
				if errors.Is(err, container.ErrNoVolume) {
					if force {
						err = nil
					} else {
						err = fmt.Errorf("get %s: no such volume", name)
					}
				}
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "No error when there is no such volume")
	return cmd
}
