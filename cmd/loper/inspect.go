package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"text/template"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
)

// inspector gives the description of the object of a name.
type inspector func(name string) (any, error)

func newInspect(c *cli) *cobra.Command {
	var kind string
	var size bool
	cmd := c.inspectCommand("inspect [OPTIONS] NAME|ID [NAME|ID...]", "Show containers, images and volumes in full",
		func() (inspector, error) { return c.inspectKind(kind, size) })
	cmd.Flags().StringVar(&kind, "type", "", "Only objects of this type: container, image, volume")
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
	cmd := c.inspectCommand("inspect [OPTIONS] IMAGE [IMAGE...]", "Show images in full",
		func() (inspector, error) { return c.inspectKind("image", false) })
	cmd.ValidArgsFunction = c.completeImages
	return cmd
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
	}
	if kind != "" && kind != "container" && kind != "image" && kind != "volume" {
		return nil, fmt.Errorf("--type: '%s' is not container, image or volume", kind)
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

// inspectCommand is a command that describes named objects as a JSON list, or
// by a template each. What is found is printed even when some are not.
func (c *cli) inspectCommand(use, short string, open func() (inspector, error)) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: use, Short: short, Args: atLeast(1)}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var t *template.Template
		var err error
		if format != "" && format != "json" {
			if t, err = parseTemplate(format); err != nil {
				return err
			}
		}
		find, err := open()
		if err != nil {
			return err
		}
		found := []any{}
		failed := c.each(args, func(name string) error {
			v, err := find(name)
			if err == nil {
				found = append(found, v)
			}
			return err
		})
		if err := c.printObjects(found, format, t); err != nil {
			return err
		}
		return failed
	}
	formatFlag(cmd, &format)
	return cmd
}

// printObjects prints a list as indented JSON, as one line of it, or by a
// template.
func (c *cli) printObjects(found []any, format string, t *template.Template) error {
	switch {
	case format == "json":
		return c.printOne(format, found)
	case t == nil:
		return writeJSON(c.out, found)
	}
	for _, v := range found {
		var b bytes.Buffer
		if err := t.Execute(&b, v); err != nil {
			generic, jsonErr := asMap(v)
			if jsonErr != nil {
				return jsonErr
			}
			b.Reset()
			if t.Execute(&b, generic) != nil {
				return fmt.Errorf("--format: %w", err)
			}
		}
		fmt.Fprintln(c.out, b.String())
	}
	return nil
}

// asMap is a value as its JSON has it, for templates that use those names.
func asMap(v any) (m any, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&m)
	return m, err
}
