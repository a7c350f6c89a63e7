package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// UsersOf returns the names of the containers made from an image, and where it
// is mounted. When that can't be known, the image counts as used.
func (e *Engine) UsersOf(imageID string) []string { return e.UsersBeside(imageID, nil) }

// UsersBeside is UsersOf as if the containers of some ids were gone.
func (e *Engine) UsersBeside(imageID string, gone []string) []string {
	users, err := e.imageUsers(gone)
	if err != nil {
		return []string{fmt.Sprintf("(unknown: %v)", err)}
	}
	return users[imageID]
}

// imageUsers returns, by the images' ids, the containers made from them, and
// where they are mounted, as if the containers of some ids were gone.
func (e *Engine) imageUsers(gone []string) (map[string][]string, error) {
	mounts, err := e.ImageMounts()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for id, at := range mounts {
		users[id.String()] = append(users[id.String()], at)
	}
	return users, e.records(func(c *Container) {
		if !c.Removing && !slices.Contains(gone, c.ID) { // else it never starts again
			users[c.ImageID] = append(users[c.ImageID], c.Name)
		}
	})
}

// layersInUse returns the directories of all layers that containers are made of,
// as if the containers of some ids were gone.
func (e *Engine) layersInUse(gone []string) (layers []string, err error) {
	err = e.records(func(c *Container) {
		if !slices.Contains(gone, c.ID) {
			layers = append(layers, c.Layers...)
		}
	})
	return layers, err
}

// records calls f for every container as its record has it: nothing is repaired
// and nobody waited for.
func (e *Engine) records(f func(*Container)) error {
	entries, err := os.ReadDir(e.path(containerDir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !isID(entry.Name()) {
			continue
		}
		c, err := e.read(entry.Name())
		if err == nil {
			f(c)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
