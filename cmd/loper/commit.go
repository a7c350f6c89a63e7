package main

import (
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newCommit(c *cli) *cobra.Command {
	var o container.CommitOptions
	var pause bool
	cmd := &cobra.Command{
		Use:               "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:             "Make an image of a container",
		Args:              between(1, 2),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				o.Name = args[1]
			}
			if o.Created, o.Latest, err = buildTime(); err != nil {
				return err
			}
			o.NoPause = !pause
			// Who interrupts this must not leave the container paused.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			id, err := ctr.Commit(ctx, o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, id)
			c.keepWithin(cmd.Context(), id)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.Author, "author", "a", "", "Author of the image")
	f.StringVarP(&o.Message, "message", "m", "", "Comment in the image's history")
	f.VarP(list(&o.Changes), "change", "c", "Apply a Dockerfile instruction to the image")
	f.BoolVarP(&pause, "pause", "p", true, "Pause the container meanwhile")
	return cmd
}
