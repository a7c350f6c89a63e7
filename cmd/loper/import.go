package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/oci"
)

func newImport(c *cli) *cobra.Command {
	var changes []string
	var message, platform string
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
		Short: "Make an image of a root file system in a tar",
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := image.Recipe{Comment: message}
			if len(args) == 2 {
				r.Name = args[1]
			}
			if r.Comment == "" {
				r.Comment = "Imported from " + args[0]
			}
			var err error
			if r.Platform, err = oci.ParsePlatform(platform); err != nil {
				return fmt.Errorf("--platform: %w", err)
			}
			if err := image.Change(&r.Config, changes...); err != nil {
				return err
			}
			if r.Created, _, err = buildTime(); err != nil {
				return err
			}
			store, err := c.images()
			if err != nil {
				return err
			}
			from, err := c.openTar(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer from.Close()
			id, err := store.Import(cmd.Context(), r, from)
			if err != nil {
				return fmt.Errorf("import %s: %w", args[0], err)
			}
			fmt.Fprintln(c.out, id)
			c.keepWithin(cmd.Context(), id)
			return nil
		},
	}
	f := cmd.Flags()
	f.VarP(list(&changes), "change", "c", "Apply a Dockerfile instruction to the image")
	f.StringVarP(&message, "message", "m", "", "Set the comment in the image's history")
	f.StringVar(&platform, "platform", "", "Platform of the image, as in linux/arm64")
	return cmd
}

// buildTime is when an image is made: now, or what SOURCE_DATE_EPOCH says, which
// then also is the latest time of a file.
func buildTime() (created time.Time, latest *time.Time, err error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Now(), nil, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("SOURCE_DATE_EPOCH: %.60q is no number of seconds", text)
	}
	t := time.Unix(seconds, 0).UTC()
	return t, &t, nil
}

// isURL reports whether an argument names something of the web.
func isURL(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}
