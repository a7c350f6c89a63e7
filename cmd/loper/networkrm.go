package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/network"
)

func newNetworkRm(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] NETWORK [NETWORK...]",
		Short:             "Remove networks that no running container is connected to",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeNetworks,
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				err := e.Networks.Remove(name)
				if errors.Is(err, network.ErrNotFound) {
					if force {
						return nil
					}
					err = noSuch("network", name)
				}
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "No error when there is no such network")
	return cmd
}

func newNetworkExists(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:               "exists NETWORK",
		Short:             "Tell by the exit code whether there is a network",
		Args:              exactly(1),
		ValidArgsFunction: c.completeNetworks,
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return exit(engineExit, err)
			}
			_, err = e.Networks.Get(args[0])
			if errors.Is(err, network.ErrNotFound) {
				return exit(1, nil)
			}
			if err != nil {
				return exit(engineExit, err)
			}
			return nil
		},
	}
}
