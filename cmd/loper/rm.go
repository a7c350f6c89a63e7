package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newRm(c *cli) *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Remove containers",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := c.engine()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				ctr, err := e.Find(name)
				if errors.Is(err, container.ErrNotFound) {
					err = noSuch("container", name)
					if force && container.CheckName(name) == nil {
						c.report(nil, err)
						return nil
					}
				}
				if err == nil {
					err = ctr.Remove(container.RemoveOptions{Force: force, Volumes: volumes})
				}
				if errors.Is(err, container.ErrRunning) {
					err = fmt.Errorf("cannot remove container \"%s\": container is running: stop the container before removing or force remove", name)
				}
				if err == nil {
					fmt.Fprintln(c.out, name)
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Kill a running container before")
	f.BoolVarP(&volumes, "volumes", "v", false, "Remove the container's anonymous volumes as well")
	return cmd
}
