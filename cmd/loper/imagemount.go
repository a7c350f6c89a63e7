package main

import (
	"fmt"
	"sort"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
	"loper.run/image/oci"
)

// mountedImage is an entry of `image mount --format json`, with podman's names.
type mountedImage struct {
	ID         string   `json:"id"`
	Repository []string `json:"Repositories"`
	Mountpoint string   `json:"mountpoint"`
}

func newImageMount(c *cli) *cobra.Command {
	var all bool
	var format string
	cmd := &cobra.Command{
		Use:               "mount [OPTIONS] [IMAGE...]",
		Short:             "Mount images' root file systems, or list those that are",
		Args:              atLeast(0),
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return badUsage(cmd, "--all takes no images")
			}
			if format != "" && format != "json" {
				return badUsage(cmd, "--format: '%s' is not json", format)
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if all {
				list, err := e.Images.List()
				if err != nil {
					return err
				}
				for _, img := range list {
					args = append(args, img.ID.Hex())
				}
			} else if len(args) == 0 {
				return c.listMounts(e, nil, format)
			}
			var mounted []oci.Digest
			failed := c.each(args, func(name string) error {
				img, err := resolve(e.Images, name)
				if err != nil {
					return err
				}
				at, err := e.MountImage(img)
				if err == nil {
					mounted = append(mounted, img.ID)
					if len(args) == 1 && !all && format == "" {
						fmt.Fprintln(c.out, at)
					}
				}
				return err
			})
			if len(args) > 1 || all || format != "" {
				if err := c.listMounts(e, mounted, format); err != nil {
					return err
				}
			}
			return failed
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "Mount all images")
	f.StringVar(&format, "format", "", `"json", or a table`)
	return cmd
}

// listMounts prints where images are mounted: those of the ids, or all.
func (c *cli) listMounts(e *container.Engine, ids []oci.Digest, format string) error {
	mounts, err := e.ImageMounts()
	if err != nil {
		return err
	}
	if ids == nil {
		for id := range mounts {
			ids = append(ids, id)
		}
		sort.Slice(ids, func(i, j int) bool { return ids[i].Hex() < ids[j].Hex() })
	}
	list := []mountedImage{}
	for _, id := range ids {
		m := mountedImage{ID: id.Hex(), Repository: []string{}, Mountpoint: mounts[id]}
		if img, err := e.Images.Resolve(id.String()); err == nil {
			m.Repository = append(m.Repository, img.Names...)
		}
		list = append(list, m)
	}
	if format == "json" {
		return writeJSON(c.out, list)
	}
	t := newTable(c.out)
	for _, m := range list {
		name := shortDigest("sha256:"+m.ID, false)
		if len(m.Repository) > 0 {
			name = m.Repository[0]
		}
		t.line([]string{name, m.Mountpoint})
	}
	return t.Flush()
}

func newImageUnmount(c *cli) *cobra.Command {
	var all, force bool
	cmd := &cobra.Command{
		Use:               "unmount [OPTIONS] IMAGE [IMAGE...]",
		Short:             "Unmount images' root file systems",
		ValidArgsFunction: c.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return badUsage(cmd, "name images, or use --all")
			}
			e, err := c.engine()
			if err != nil {
				return err
			}
			if all {
				mounts, err := e.ImageMounts()
				if err != nil {
					return err
				}
				for id := range mounts {
					args = append(args, id.String())
				}
			}
			return c.each(args, func(name string) error {
				id, err := mountedID(e.Images, name)
				if err == nil {
					err = e.UnmountImage(id, force)
				}
				if err == nil {
					fmt.Fprintln(c.out, id.Hex())
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "Unmount all images")
	f.BoolVarP(&force, "force", "f", false, "Unmount even what is in use; it goes with its last user")
	return cmd
}

// mountedID is the id of an image that may be no more.
func mountedID(s *image.Store, name string) (oci.Digest, error) {
	if id, err := oci.Parse(name); err == nil {
		return id, nil
	}
	img, err := resolve(s, name)
	if err != nil {
		return oci.Digest{}, err
	}
	return img.ID, nil
}
