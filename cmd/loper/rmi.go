package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
	"loper.run/image/oci"
)

func newRmi(c *cli) *cobra.Command {
	var force, all, ignore bool
	var platform string
	cmd := &cobra.Command{
		Use:               "rmi [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Remove images",
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return badUsage(cmd, "--all takes no images")
			}
			if !all {
				if err := atLeast(1)(cmd, args); err != nil {
					return err
				}
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if all {
				list, err := e.Images.List()
				if err != nil {
					c.warn("%s (see 'loper system check')", oneLine(err.Error()))
				}
				for _, img := range list {
					args = append(args, img.ID.Hex())
				}
			}
			return c.each(args, func(name string) error {
				untagged, deleted, err := e.Images.RemoveFor(name, platform, force || all, func(id oci.Digest) []string { return e.UsersOf(id.String()) })
				if errors.Is(err, image.ErrNotFound) {
					err = noSuch("image", name)
					if ignore || all {
						return nil
					}
					if force {
						c.report(nil, err)
						return nil
					}
				}
				for _, name := range untagged {
					fmt.Fprintln(c.out, "Untagged: "+name)
				}
				for _, id := range deleted {
					fmt.Fprintln(c.out, "Deleted: "+id)
				}
				return inUse(e, err)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Remove the image though containers that do not run were made of it")
	f.BoolVarP(&all, "all", "a", false, "Remove all images that no container uses")
	f.BoolVarP(&ignore, "ignore", "i", false, "No error when there is no such image")
	f.StringVar(&platform, "platform", "", "Only the image for this platform, as in linux/arm64")
	f.Bool("no-prune", false, "Do not remove untagged parents (there are none)")
	return cmd
}

// inUse says in docker's words which container keeps an image from being removed.
func inUse(e *container.Engine, err error) error {
	used, ok := errors.AsType[*image.InUseError](err)
	if !ok || strings.HasPrefix(used.Users[0], "/") {
		return err
	}
	ctr, findErr := e.Find(used.Users[0])
	if findErr != nil { // it is gone already
		return fmt.Errorf("conflict: %w", err)
	}
	byID := strings.HasPrefix(ctr.ImageID, "sha256:"+strings.TrimPrefix(used.Name, "sha256:"))
	state := "stopped"
	if st, err := ctr.Status(); err == nil && st.Alive() {
		state = "running"
	}
	if byID {
		return fmt.Errorf("conflict: unable to delete %s (cannot be forced) - image is being used by %s container %s", used.Name, state, ctr.ShortID())
	}
	return fmt.Errorf("conflict: unable to remove repository reference \"%s\" (must force) - container %s is using its referenced image %s", used.Name, ctr.ShortID(), shortDigest(ctr.ImageID, false))
}
