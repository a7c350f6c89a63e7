package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/image/overlay"
)

func newDiff(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "diff [OPTIONS] CONTAINER",
		Short:             "Show which files a container has added (A), changed (C) and deleted (D)",
		Args:              exactly(1),
		ValidArgsFunction: c.completeContainers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctr, err := c.container(args[0])
			if err != nil {
				return err
			}
			list, err := ctr.Diff(cmd.Context())
			if err != nil {
				return err
			}
			return c.printChanges(list, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", `"json"`)
	return cmd
}

func newImageDiff(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "diff [OPTIONS] IMAGE [IMAGE]",
		Short:             "Show which files the last layer of an image, or a second image, adds (A), changes (C) and deletes (D)",
		Args:              between(1, 2),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			old, err := resolve(store, args[0])
			if err != nil {
				return err
			}
			compare := overlay.Comparison{New: old.Layers}
			if n := len(old.Layers); n > 0 {
				compare.Old = old.Layers[:n-1]
			}
			if len(args) == 2 {
				now, err := resolve(store, args[1])
				if err != nil {
					return err
				}
				compare.Old, compare.New = old.Layers, now.Layers
			}
			list, err := overlay.DiffMapped(cmd.Context(), compare)
			if err != nil {
				return err
			}
			return c.printChanges(list, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", `"json"`)
	return cmd
}

// printChanges prints a line for each change, or podman's JSON.
func (c *cli) printChanges(list []overlay.Change, format string) error {
	switch format {
	case "json":
		var all struct {
			Changed []string `json:"changed,omitempty"`
			Added   []string `json:"added,omitempty"`
			Deleted []string `json:"deleted,omitempty"`
		}
		to := map[overlay.Kind]*[]string{overlay.Changed: &all.Changed, overlay.Added: &all.Added, overlay.Deleted: &all.Deleted}
		for _, change := range list {
			*to[change.Kind] = append(*to[change.Kind], change.Path)
		}
		return writeJSON(c.out, all)
	case "":
	default:
		return fmt.Errorf("--format: %q is not json", format)
	}
	for _, change := range list {
		// A name may hold what would steer a terminal.
		fmt.Fprintln(c.out, string(change.Kind)+" "+oneLine(change.Path))
	}
	return nil
}
