package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
)

func newCreate(c *cli) *cobra.Command {
	n := &creation{}
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Make a container, but do not start it",
		Args:              atLeast(1),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctr, err := c.create(cmd, n, args, nil)
			if ctr != nil {
				fmt.Fprintln(c.out, ctr.ID)
			}
			return err
		},
	}
	n.flags(cmd.Flags())
	return cmd
}

// create makes the container of the flags and the words IMAGE [COMMAND]
// [ARG...]; started says how it will be started, or is nil. With --plan it
// prints the plan and returns nil.
func (c *cli) create(cmd *cobra.Command, n *creation, args []string, started *container.StartOptions) (_ *container.Container, err error) {
	if err := n.finish(args); err != nil {
		return nil, err
	}
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	if n.cidfile != "" {
		if _, err := os.Lstat(n.cidfile); err == nil {
			return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", n.cidfile)
		}
	}
	img, err := c.acquire(cmd.Context(), e.Images, args[0], n)
	if err != nil {
		return nil, err
	}
	if n.plan {
		return nil, c.printPlan(e, n, img)
	}
	if started != nil {
		if err := e.StartMonitor(*started); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				e.Abandon()
			}
		}()
	}
	ctr, err := e.Create(cmd.Context(), n.Settings, img)
	if errors.Is(err, container.ErrNameTaken) {
		return nil, nameTaken(e, n.Name, err)
	}
	if err != nil {
		return nil, err
	}
	if n.cidfile != "" {
		if err := os.WriteFile(n.cidfile, []byte(ctr.ID), 0o644); err != nil {
			return nil, err
		}
	}
	return ctr, nil
}

// nameTaken says it in the words that scripts look for.
func nameTaken(e *container.Engine, name string, err error) error {
	owner, findErr := e.Find(name)
	if findErr != nil {
		return err
	}
	//lint:ignore ST1005 docker's words
	return fmt.Errorf("Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) that container to be able to reuse that name.", name, owner.ID)
}

// printPlan shows the system calls that would start the container.
func (c *cli) printPlan(e *container.Engine, n *creation, img *image.Image) error {
	program, err := e.Plan(n.Settings, img)
	if err != nil {
		return err
	}
	switch n.format {
	case "json":
		return writeJSON(c.out, program)
	case "text":
		_, err = fmt.Fprint(c.out, program.String())
		return err
	}
	return fmt.Errorf("--format: '%s' is not text or json", n.format)
}

// finish reads the files that flags named and takes in IMAGE [COMMAND]
// [ARG...].
func (n *creation) finish(args []string) (err error) {
	n.Image = args[0]
	if len(args) > 1 {
		n.Command = args[1:]
	}
	if n.entrypoint != nil {
		n.Entrypoint = []string{*n.entrypoint}
	}
	if _, err := detachKeys(n.DetachKeys); err != nil {
		return err
	}
	if n.Env, err = environment(n.envFiles, n.env); err != nil {
		return err
	}
	if err := n.network.finish(&n.Settings); err != nil {
		return err
	}
	n.Labels, err = keyValues(n.labelFiles, n.labels)
	return err
}
