package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// useVolume makes sure that the volume of a mount is there and filled, and
// keeps it from being removed until the lock is closed.
func (c *Container) useVolume(ctx context.Context, m Mount) (*os.File, error) {
	e := c.engine
	fresh := volumeRecord{CreatedAt: time.Now().UTC(), Anonymous: m.Anonymous}
	if m.Anonymous {
		fresh.Owner = c.ID
	}
	v, lock, err := e.openVolume(m.Source, fresh)
	if err != nil {
		return nil, err
	}
	if v.Fill != "done" {
		if err := c.fill(ctx, v, m); err != nil {
			lock.Close()
			return nil, fmt.Errorf("fill volume %s from the image's %s: %w", v.Name, m.Target, err)
		}
	}
	return lock, nil
}

// removeAnonymous removes the container's anonymous volumes that no other
// container has come to use.
func (c *Container) removeAnonymous() error {
	for _, m := range c.Mounts {
		if m.Anonymous {
			if err := c.engine.removeOwned(m.Source, c.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) removeOwned(name, owner string) error {
	lock, err := e.lockVolume(name, unix.LOCK_EX)
	if errors.Is(err, ErrNoVolume) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	users, err := e.volumeUsers(name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(users, func(user string) bool { return user != owner }) {
		return nil
	}
	return e.removeVolume(name)
}

// dropVolumesOf removes the anonymous volumes of a container that was never
// finished.
func (e *Engine) dropVolumesOf(id string) error {
	all, err := e.VolumeList()
	for _, v := range all {
		if v.Owner == id {
			err = errors.Join(err, e.removeOwned(v.Name, ""))
		}
	}
	return err
}
