package main

import (
	"fmt"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"loper.run/internal/config"
)

func newSystemDedupe(c *cli) *cobra.Command {
	var reflink, hardlink bool
	least := int64(4096)
	cmd := &cobra.Command{
		Use:   "dedupe [OPTIONS]",
		Short: "Keep files that are the same in several images once",
		Long: "Keep files that are the same in several images once.\n\nReflinks share blocks, which XFS and btrfs can, and are seen by nobody. Hard links share\n" +
			"whole files that are alike in owner, permissions, time and attributes; containers see\nthe link count. Without an option the configuration's image.dedupe decides.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reflink == hardlink {
				settings, err := config.Load()
				if err != nil {
					return err
				}
				if reflink || !settings.Image.Dedupe.Reflink() && !settings.Image.Dedupe.Hardlink() {
					return badUsage(cmd, "say either --reflink or --hardlink")
				}
				hardlink = settings.Image.Dedupe.Hardlink()
			}
			store, err := c.images()
			if err != nil {
				return err
			}
			done, err := store.Dedupe(cmd.Context(), hardlink, least)
			if err != nil {
				return err
			}
			if done.Files == 0 {
				_, err = fmt.Fprintln(c.out, "No files to share")
				return err
			}
			kind := "as reflinks"
			if hardlink {
				kind = "as hard links"
			}
			_, err = fmt.Fprintf(c.out, "Shared files: %d\nTotal shared space: %s, %s\n", done.Files, units.HumanSize(float64(done.Bytes)), kind)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&reflink, "reflink", false, "Let files share their blocks")
	f.BoolVar(&hardlink, "hardlink", false, "Make files one that are alike, but for those of layers that containers have")
	f.Var(size(&least, false), "min-size", "Leave smaller files alone")
	return cmd
}
