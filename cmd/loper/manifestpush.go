package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"loper.run/image"
	"loper.run/image/progress"
)

func newManifestPush(c *cli) *cobra.Command {
	var o image.ListPush
	var all, purge, quiet bool
	var where registryAccess
	var digestFile, format string
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] LIST [DESTINATION]",
		Short: "Upload a list and its images to a registry",
		Args:  between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			o.Alone = !all
			switch format {
			case "", "oci":
			case "v2s2", "docker":
				o.Docker = true
			default:
				return fmt.Errorf("--format: '%s' is not oci or v2s2", format)
			}
			if !quiet {
				display := progress.New(c.err)
				defer display.Close()
				o.Progress = display
			}
			desc, err := store.PushList(cmd.Context(), args[0], append(args, "")[1], o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, desc.Digest)
			if digestFile != "" {
				if err := os.WriteFile(digestFile, []byte(desc.Digest.String()), 0o644); err != nil {
					return err
				}
			}
			if purge {
				_, _, err = store.RemoveList(args[0])
			}
			return err
		},
	}
	where.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&all, "all", true, "Push the images of the list, too")
	f.BoolVarP(&purge, "purge", "p", false, "Remove the list after the push")
	f.BoolVar(&purge, "rm", false, "The same as --purge")
	f.BoolVarP(&quiet, "quiet", "q", false, "Show no progress")
	f.StringVarP(&format, "format", "f", "", "Form of the list: oci or v2s2")
	f.StringVar(&digestFile, "digestfile", "", "File to write the digest of the list to")
	return cmd
}

func newManifestInspect(c *cli) *cobra.Command {
	var where registryAccess
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] IMAGE|LIST",
		Short: "Show a list, or an image's manifest, of the store or of a registry",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			body, err := store.ListBody(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var out bytes.Buffer
			if err := json.Indent(&out, body, "", "    "); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, out.String())
			return err
		},
	}
	where.add(cmd)
	return cmd
}
