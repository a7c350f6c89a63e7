package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
	"loper.run/network"
)

// inspector gives the description of the object of a name.
type inspector func(name string) (any, error)

func newInspect(c *cli) *cobra.Command {
	var kind string
	var size bool
	cmd := c.inspectCommand("inspect [OPTIONS] NAME|ID [NAME|ID...]", "Show containers, images, volumes and networks in full",
		func() (inspector, error) { return c.inspectKind(kind, size) })
	cmd.Flags().StringVar(&kind, "type", "", "Only objects of this type: container, image, volume, network")
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Count the size of containers")
	cmd.ValidArgsFunction = c.completeContainers()
	return cmd
}

func newContainerInspect(c *cli) *cobra.Command {
	var size bool
	cmd := c.inspectCommand("inspect [OPTIONS] CONTAINER [CONTAINER...]", "Show containers in full",
		func() (inspector, error) { return c.inspectKind("container", size) })
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Count the size of containers")
	cmd.ValidArgsFunction = c.completeContainers()
	return cmd
}

func newImageInspect(c *cli) *cobra.Command {
	var platform string
	cmd := c.inspectCommand("inspect [OPTIONS] IMAGE [IMAGE...]", "Show images in full",
		func() (inspector, error) { return c.inspectImages(platform) })
	cmd.Flags().StringVar(&platform, "platform", "", "The image for this platform, as in linux/arm64")
	cmd.ValidArgsFunction = c.completeImages
	return cmd
}

// inspectImages finds images for a platform; "" is this machine's.
func (c *cli) inspectImages(platform string) (inspector, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	return func(name string) (any, error) {
		img, err := e.Images.ResolveFor(name, platform)
		if errors.Is(err, image.ErrNotFound) {
			return nil, noSuch("image", name)
		}
		if err != nil {
			return nil, err
		}
		return newImageDetails(img), nil
	}, nil
}

func newVolumeInspect(c *cli) *cobra.Command {
	cmd := c.inspectCommand("inspect [OPTIONS] VOLUME [VOLUME...]", "Show volumes in full",
		func() (inspector, error) { return c.inspectKind("volume", false) })
	cmd.ValidArgsFunction = c.completeVolumes
	return cmd
}

// inspectKind finds objects of a kind; of all kinds when it is empty.
func (c *cli) inspectKind(kind string, size bool) (inspector, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	finders := []struct {
		kind string
		find inspector // nil: there is none
	}{
		{"container", func(name string) (any, error) {
			ctr, err := e.Find(name)
			if errors.Is(err, container.ErrNotFound) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return ctr.Inspect(size)
		}},
		{"image", func(name string) (any, error) {
			img, err := e.Images.Resolve(name)
			if errors.Is(err, image.ErrNotFound) || kind == "" && err != nil {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return newImageDetails(img), nil
		}},
		{"volume", func(name string) (any, error) {
			v, err := e.VolumeInspect(name)
			if errors.Is(err, container.ErrNoVolume) || kind == "" && err != nil {
				return nil, nil
			}
			return v, err
		}},
		{"network", func(name string) (any, error) {
			n, err := inspectNetwork(e.Networks, name, false)
			if errors.Is(err, network.ErrNotFound) || kind == "" && err != nil {
				return nil, nil
			}
			return n, err
		}},
	}
	if kind != "" && kind != "container" && kind != "image" && kind != "volume" && kind != "network" {
		return nil, fmt.Errorf("--type: '%s' is not container, image, volume or network", kind)
	}
	return func(name string) (any, error) {
		for _, f := range finders {
			if kind != "" && kind != f.kind {
				continue
			}
			if v, err := f.find(name); v != nil || err != nil {
				return v, err
			}
		}
		return nil, noSuch(cmp.Or(kind, "object"), name)
	}, nil
}
