package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"loper.run/container"
	"loper.run/image"
	"loper.run/internal/config"
	"loper.run/network"
)

// engine opens the engine of --root and --runroot, or of the environment.
func (c *cli) engine() (*container.Engine, error) {
	e, err := container.Open(cmp.Or(c.root, os.Getenv("LOPER_ROOT")), cmp.Or(c.runroot, os.Getenv("LOPER_RUNROOT")))
	if err == nil {
		e.Warn = func(line string) { c.warn("%s", line) }
		e.Networks.Defaults = networkDefaults
	}
	return e, err
}

// networkDefaults are what the configuration says of new networks.
func networkDefaults() (network.Defaults, error) {
	settings, err := config.Load()
	d := network.Defaults{Options: settings.Network.Options}
	for _, p := range settings.Network.Pools {
		d.Pools = append(d.Pools, network.Pool{Base: p.Base, Bits: p.Size})
	}
	return d, err
}

// images opens the images of the engine.
func (c *cli) images() (*image.Store, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	return e.Images, nil
}

// imagesAt opens the images of the engine, with registries reached as flags say.
func (c *cli) imagesAt(where *registryAccess) (*image.Store, error) {
	// What is named has to be there: it would silently be as good as nothing.
	for flag, path := range map[string]string{"--authfile": where.authfile, "--cert-dir": where.certs} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
	}
	store, err := c.images()
	if err == nil {
		store.Access = where.access(where.creds)
	}
	return store, err
}

// find returns the container of a name, an id or the beginning of one. Scripts
// look for docker's words when there is none.
func find(e *container.Engine, name string) (*container.Container, error) {
	ctr, err := e.Find(name)
	if errors.Is(err, container.ErrNotFound) {
		return nil, noSuch("container", name)
	}
	return ctr, err
}

// noSuch says that there is no object of a name, in docker's words.
func noSuch(kind, name string) error {
	//lint:ignore ST1005 docker's words
	return fmt.Errorf("No such %s: %s", kind, ellipsis(name, 200))
}

// resolve returns the image of a name, in docker's words when there is none.
func resolve(s *image.Store, name string) (*image.Image, error) {
	img, err := s.Resolve(name)
	if errors.Is(err, image.ErrNotFound) {
		return nil, noSuch("image", name)
	}
	return img, err
}

// container opens the engine and finds one container.
func (c *cli) container(name string) (*container.Container, error) {
	e, err := c.engine()
	if err != nil {
		return nil, err
	}
	return find(e, name)
}

// containers calls f for each named container, all at once, and prints the
// names as they were given, in their order. It goes on after errors.
func (c *cli) containers(names []string, f func(*container.Container) error) error {
	e, err := c.engine()
	if err != nil {
		return err
	}
	errs := make([]error, len(names))
	var all sync.WaitGroup
	one := func(i int) {
		var ctr *container.Container
		if ctr, errs[i] = find(e, names[i]); errs[i] == nil {
			errs[i] = f(ctr)
		}
	}
	for i := range names[1:] {
		all.Go(func() { one(i + 1) })
	}
	one(0)
	all.Wait()
	i := -1
	return c.each(names, func(name string) error {
		if i++; errs[i] == nil {
			fmt.Fprintln(c.out, name)
		}
		return errs[i]
	})
}

// completeContainers offers the names of containers, of the given states only.
func (c *cli) completeContainers(states ...container.State) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		e, err := c.engine()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := e.List()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, ctr := range all {
			if len(states) == 0 || isOneOf(ctr, states) {
				names = append(names, ctr.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func isOneOf(ctr *container.Container, states []container.State) bool {
	status, err := ctr.Status()
	for _, s := range states {
		if err == nil && status.State == s {
			return true
		}
	}
	return false
}

// completeImages offers the names of images, as the first argument only.
func (c *cli) completeImages(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	store, err := c.images()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := store.List()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, img := range all {
		names = append(names, img.Names...)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
