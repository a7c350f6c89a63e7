package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/progress"
)

func newPush(c *cli) *cobra.Command {
	var o image.PushOptions
	var quiet bool
	var where registryAccess
	var digestFile string
	cmd := &cobra.Command{
		Use:               "push [OPTIONS] NAME[:TAG] [DESTINATION]",
		Short:             "Upload an image to a registry",
		Args:              between(1, 2),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			if !quiet {
				display := progress.New(c.out)
				defer display.Close()
				o.Progress = display
			}
			pushed, err := store.Push(cmd.Context(), args[0], append(args, "")[1], o)
			for _, p := range pushed {
				if quiet {
					fmt.Fprintln(c.out, p.Name)
				}
				if digestFile != "" {
					if err := os.WriteFile(digestFile, []byte(p.Desc.Digest.String()), 0o644); err != nil {
						return err
					}
				}
			}
			return err
		},
	}
	where.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.AllTags, "all-tags", "a", false, "Push all tags of the repository")
	f.BoolVarP(&quiet, "quiet", "q", false, "Only print what was pushed")
	f.StringVar(&o.Platform, "platform", "", "Push the image for this platform only, as in linux/arm64")
	f.StringVar(&digestFile, "digestfile", "", "File to write the digest of the pushed image to")
	return cmd
}
