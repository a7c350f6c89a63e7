package container

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"loper.run/image/overlay"
	"loper.run/image/pack"
)

// madeHere are the paths in the upper directory that starting a container makes
// where its image lacks them.
var madeHere = []string{"proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"}

// Export writes the container's root file system, without what is mounted in
// it, as a tar. The container may run, and change what it likes meanwhile.
func (c *Container) Export(ctx context.Context, w io.Writer, latest *time.Time) error {
	layers, o, err := c.packing()
	if err != nil {
		return err
	}
	o.Latest = latest
	if err := pack.WriteMapped(ctx, w, layers, o); err != nil {
		return fmt.Errorf("export container %s: %w", c.Name, err)
	}
	// What vanishes while it is packed is left out: not so all of it.
	now, err := c.engine.read(c.ID)
	if err == nil && now.Removing {
		err = fmt.Errorf("%w: %s: it was removed meanwhile", ErrNotFound, c.Name)
	}
	return err
}

// packing is what the container's root is made of: the directories, the lowest
// first, and whose the files are.
func (c *Container) packing() (layers []string, o pack.Options, err error) {
	if c.damage != nil {
		return nil, o, c.damage
	}
	if c.Builtin == "host" {
		return nil, o, fmt.Errorf("container %s has the machine's own root, which is no image's", c.Name)
	}
	o.UIDs, o.GIDs, err = c.mappings()
	return append(c.Layers[:len(c.Layers):len(c.Layers)], c.file(upperDir)), o, err
}

// Diff lists what the container has changed in its image's files.
func (c *Container) Diff(ctx context.Context) ([]overlay.Change, error) {
	if c.damage != nil {
		return nil, c.damage
	}
	uids, gids, err := c.mappings()
	if err != nil {
		return nil, err
	}
	layers := c.Layers
	if c.hasSkeleton() {
		layers = []string{c.file(skeletonDir)}
	}
	list, err := overlay.DiffMapped(ctx, overlay.Comparison{
		Old: layers, New: append(layers[:len(layers):len(layers)], c.file(upperDir)), UIDs: uids, GIDs: gids, Skip: c.made(),
	})
	if err != nil {
		return nil, fmt.Errorf("compare container %s with its image: %w", c.Name, err)
	}
	return list, nil
}

// made are the paths that the engine made for this container. /etc itself may
// be one of them.
func (c *Container) made() []string {
	made := madeHere[:len(madeHere):len(madeHere)]
	if c.Settings.Init {
		made = append(made, strings.TrimPrefix(initTarget, "/"))
	}
	return made
}
