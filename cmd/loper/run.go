package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/container"
)

func newRun(c *cli) *cobra.Command {
	n := &creation{}
	var detach, sigProxy bool
	cmd := &cobra.Command{
		Use:               "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Make a container and run it",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.run(cmd, n, args, detach, sigProxy)
			if _, ok := errors.AsType[*failure](err); err == nil || ok {
				return err
			}
			return exit(engineExit, err)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&detach, "detach", "d", false, "Run in the background and print the container's id")
	f.BoolVar(&sigProxy, "sig-proxy", true, "Pass signals on to the container")
	n.flags(f)
	return cmd
}

// run makes and starts a container, and stays with it unless it is detached.
func (c *cli) run(cmd *cobra.Command, n *creation, args []string, detach, sigProxy bool) error {
	s := session{detachKeys: n.DetachKeys, sigProxy: sigProxy}
	switch {
	case detach && len(n.attach) > 0:
		return fmt.Errorf("conflicting options: cannot specify both --attach and --detach")
	case !detach:
		if err := s.choose(c, n.attach, n.OpenStdin); err != nil {
			return err
		}
		if s.in != nil && n.Terminal && !isTerminal(s.in) && !n.plan {
			return exit(1, errNotTerminal)
		}
	}
	ctr, err := c.create(cmd, n, args, &container.StartOptions{Attach: !detach})
	if err != nil || ctr == nil {
		return err
	}
	if detach {
		if err := ctr.Start(container.StartOptions{}); err != nil {
			return notStarted(err)
		}
		_, err := fmt.Fprintln(c.out, ctr.ID)
		return err
	}
	return s.start(cmd.Context(), ctr)
}

// choose decides which streams the command holds; none named means the two
// outputs, and the input when it is kept open.
func (s *session) choose(c *cli, names []string, interactive bool) error {
	if len(names) == 0 {
		s.out, s.err = c.out, c.err
		if interactive {
			s.in = c.in
		}
		return nil
	}
	for _, name := range names {
		switch strings.ToUpper(name) {
		case "STDIN":
			s.in = c.in
		case "STDOUT":
			s.out = c.out
		case "STDERR":
			s.err = c.err
		default:
			return fmt.Errorf("invalid argument \"%s\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR", name)
		}
	}
	return nil
}
