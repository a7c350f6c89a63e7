package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/progress"
)

func newImageCopy(c *cli) *cobra.Command {
	var o image.CopyOptions
	var quiet bool
	var where registryAccess
	var digestFile string
	var signed trustFlags
	cmd := &cobra.Command{
		Use:   "copy [OPTIONS] SOURCE DESTINATION",
		Short: "Copy an image between registries, archives and the store, as it is",
		Long: `Copy an image between registries, archives and the store, without changing a byte of it.

A place is NAME (an image of the store), docker://NAME (of a registry), or an archive: oci:DIR[:NAME],
oci-archive:FILE[:NAME], docker-archive:FILE[:NAME] or dir:DIR.`,
		Args: exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			if o.Trust, err = signed.options(); err != nil {
				return err
			}
			if !quiet {
				display := progress.New(c.err)
				defer display.Close()
				o.Progress = display
			}
			digest, err := store.Copy(cmd.Context(), args[0], args[1], o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, digest)
			if digestFile == "" {
				return nil
			}
			return os.WriteFile(digestFile, []byte(digest.String()), 0o644)
		},
	}
	where.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "Copy all platforms of the image")
	f.StringVar(&o.Platform, "platform", "", "Platform to copy of an image that has several, as in linux/arm64")
	f.BoolVar(&o.Referrers, "referrers", false, "Copy signatures and whatever else refers to the image, too")
	signed.add(f)
	f.BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	f.StringVar(&digestFile, "digestfile", "", "File to write the digest of the copy to")
	return cmd
}
