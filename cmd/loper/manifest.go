package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"loper.run/image"
)

func newManifestCreate(c *cli) *cobra.Command {
	var o image.ListOptions
	var annotations []string
	var where registryAccess
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] LIST [IMAGE...]",
		Short: "Make a list of images for several platforms",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			if o.Annotations, err = annotationsOf("--annotation", annotations); err != nil {
				return err
			}
			digest, err := store.CreateList(cmd.Context(), args[0], args[1:], o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, digest.Hex())
			return nil
		},
	}
	where.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.Amend, "amend", "a", false, "Add to the list when there is one of that name")
	f.BoolVar(&o.All, "all", false, "Of an image that has several platforms, add all")
	f.Var(list(&annotations), "annotation", "Annotation of the list, as in KEY=VALUE")
	return cmd
}

func newManifestAdd(c *cli) *cobra.Command {
	var all bool
	var entry entryFlags
	var where registryAccess
	cmd := &cobra.Command{
		Use:   "add [OPTIONS] LIST IMAGE [IMAGE...]",
		Short: "Add images to a list",
		Args:  atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.imagesAt(&where)
			if err != nil {
				return err
			}
			e, err := entry.parse()
			if err != nil {
				return err
			}
			for i, name := range args[1:] {
				digest, err := store.AddToList(cmd.Context(), args[0], name, all, e)
				if err != nil {
					return err
				}
				if i == len(args)-2 {
					fmt.Fprintln(c.out, digest.Hex())
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "Of an image that has several platforms, add all")
	entry.flags(cmd)
	where.add(cmd)
	return cmd
}

func newManifestAnnotate(c *cli) *cobra.Command {
	var entry entryFlags
	cmd := &cobra.Command{
		Use:   "annotate [OPTIONS] LIST IMAGE|DIGEST",
		Short: "Change how a list describes an image",
		Args:  exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			e, err := entry.parse()
			if err != nil {
				return err
			}
			digest, err := store.AnnotateList(cmd.Context(), args[0], args[1], e)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, digest.Hex())
			return nil
		},
	}
	entry.flags(cmd)
	return cmd
}

func newManifestRemove(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "remove LIST IMAGE|DIGEST",
		Short: "Take an image out of a list",
		Args:  exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			digest, err := store.RemoveFromList(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, digest.Hex())
			return nil
		},
	}
}

func newManifestRm(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "rm LIST [LIST...]",
		Short: "Remove lists, but none of their images",
		Args:  atLeast(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := c.images()
			if err != nil {
				return err
			}
			return c.each(args, func(name string) error {
				gone, digest, err := store.RemoveList(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.out, "Untagged: %s\nDeleted: %s\n", gone, digest.Hex())
				return nil
			})
		},
	}
}

func newManifestExists(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "exists LIST",
		Short: "Exit with 0 when there is a list of that name, else with 1",
		Args:  exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := c.images()
			if err == nil && !store.IsList(args[0]) {
				err = exit(1, nil)
			}
			return err
		},
	}
}

// entryFlags are the flags that describe an image in a list.
type entryFlags struct {
	image.Entry
	annotations, features, osFeatures []string
}

func (e *entryFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&e.OS, "os", "", "Operating system of the image")
	f.StringVar(&e.OSVersion, "os-version", "", "Version of the operating system")
	f.Var(list(&e.osFeatures), "os-features", "Features of the operating system that the image needs")
	f.StringVar(&e.Architecture, "arch", "", "Architecture of the image")
	f.StringVar(&e.Variant, "variant", "", "Variant of the architecture")
	f.Var(list(&e.features), "features", "Features of the processor that the image needs")
	f.Var(list(&e.annotations), "annotation", "Annotation of the image in the list, as in KEY=VALUE")
}

func (e *entryFlags) parse() (image.Entry, error) {
	split := func(words []string) (all []string) {
		for _, w := range words {
			all = append(all, strings.Split(w, ",")...)
		}
		return all
	}
	e.Features, e.OSFeatures = split(e.features), split(e.osFeatures)
	var err error
	e.Annotations, err = annotationsOf("--annotation", e.annotations)
	return e.Entry, err
}

// annotationsOf reads KEY=VALUE.
func annotationsOf(flag string, words []string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	all := make(map[string]string)
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, errors.New(flag + ": '" + w + "' is not KEY=VALUE")
		}
		all[key] = value
	}
	return all, nil
}
