package container

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
)

// lockDir takes the lock of a container's directory, waiting for whoever
// changes the container at this moment.
func (e *Engine) lockDir(id string, how int) (*os.File, error) {
	d, err := os.Open(e.path(containerDir, id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(d, how); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// lock takes the container's lock and reads its record anew, as it may have
// been changed or removed while we waited.
func (c *Container) lock() (unlock func(), err error) {
	d, err := c.engine.lockDir(c.ID, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	now, err := c.engine.read(c.ID)
	if err == nil && now.Removing {
		err = now.finishRemoval()
		if err == nil {
			err = fmt.Errorf("%w: %s", ErrNotFound, c.Name)
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	c.Record, c.damage = now.Record, now.damage
	return func() { d.Close() }, nil
}

// dropHalfMade removes the directory of a container whose creator died before
// it wrote the record, and reports whether there is no container now.
func (e *Engine) dropHalfMade(id string) bool {
	d, err := e.lockDir(id, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, ErrNotFound) {
		return true
	}
	if err != nil {
		return false // its creator lives, or we may not look
	}
	defer d.Close()
	if _, err := e.read(id); !errors.Is(err, ErrNotFound) {
		return false
	}
	if _, err := os.Lstat(e.path(containerDir, id, unfinishedFile)); err == nil && e.dropVolumesOf(id) != nil {
		return false
	}
	return e.removeTree(e.path(containerDir, id)) == nil
}
