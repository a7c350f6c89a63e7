package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"loper.run/container/monitor"
)

// RemoveOptions is how to remove a container.
type RemoveOptions struct {
	Force   bool // kill it if it runs
	Volumes bool // remove its anonymous volumes too
}

// killTime is how long the kernel may take to end a killed container.
const killTime = 30 * time.Second

// Remove removes the container and all that is only its own. ErrRunning
// without Force. A removal that was begun is finished, by this or by any later
// command; it is no error when somebody else has finished it.
func (c *Container) Remove(o RemoveOptions) error {
	unlock, err := c.lock()
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return c.removeLocked(o)
}

func (c *Container) removeLocked(o RemoveOptions) error {
	// Of one that has said how it ended, the monitor may still be about to go.
	if _, err := os.Lstat(c.file(monitor.ExitFile)); err == nil {
		return c.beginRemoval(o.Volumes)
	}
	st, err := c.status(true)
	if err != nil && !o.Force {
		return err
	}
	if st.Alive() {
		if !o.Force {
			return fmt.Errorf("%w: %s", ErrRunning, c.Name)
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), killTime, errors.New("its processes do not end"))
		defer cancel()
		if err := c.kill(ctx); err != nil {
			return fmt.Errorf("kill container %s: %w", c.Name, err)
		}
	}
	return c.beginRemoval(o.Volumes)
}

// beginRemoval makes the removal of a locked container something that any
// command may finish, and finishes it.
func (c *Container) beginRemoval(volumes bool) error {
	name := removingFile
	if volumes {
		name = removingVolumesFile
	}
	if err := os.Rename(c.file(recordFile), c.file(name)); err != nil {
		return err
	}
	c.Removing, c.RemoveVolumes = true, volumes
	return c.finishRemoval()
}

// finishRemoval removes a locked container whose record says that it is being
// removed, and that has ended. The record goes after what it describes, and the
// claims after it, so that wherever this is killed the next command knows what is
// left to do.
func (c *Container) finishRemoval() error {
	if c.RemoveVolumes {
		if err := c.removeAnonymous(); err != nil {
			return err
		}
	}
	if err := c.removeFiles(); err != nil {
		return err
	}
	// The monitor has cleaned up after the container meanwhile.
	ctx, cancel := context.WithTimeoutCause(context.Background(), killTime, errors.New("its monitor does not end"))
	defer cancel()
	if err := c.waitMonitor(ctx); err != nil {
		return fmt.Errorf("remove container %s: %w", c.Name, err)
	}
	if err := c.cleanRuntime(); err != nil {
		return err
	}
	if err := c.engine.removeTree(c.Dir()); err != nil {
		return err
	}
	return c.engine.freeClaims(c)
}

// removeFiles removes what is in the container's directory, but the record.
func (c *Container) removeFiles() error {
	if c.engine.Rootless {
		// The kernel makes it without any permission, which would stop us.
		os.Chmod(c.file(filepath.Join(workDir, "work")), 0o700)
	}
	entries, err := os.ReadDir(c.Dir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != removingFile && entry.Name() != removingVolumesFile {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return c.engine.removeFrom(c.Dir(), names...)
}

// freeClaims gives up the container's name and range of ids.
func (e *Engine) freeClaims(c *Container) error {
	var err error
	if c.Range != noRange {
		err = e.free(idRangeDir, strconv.Itoa(c.Range), c.ID)
	}
	if c.Name != "" {
		err = errors.Join(err, e.free(nameDir, c.Name, c.ID))
	}
	return err
}

// Rename gives the container another name.
func (c *Container) Rename(name string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	old := c.Name
	if name == old {
		return fmt.Errorf("container %s has that name already", name)
	}
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := c.engine.takeName(name, c.ID); err != nil {
		return err
	}
	// The record comes last: until then, who is killed can be followed by the same.
	c.Name = name
	err = c.renameInNetworks()
	if err == nil {
		err = c.save()
	}
	if err != nil {
		c.Name = old
		return errors.Join(err, c.renameInNetworks(), c.engine.free(nameDir, name, c.ID))
	}
	return c.engine.free(nameDir, old, c.ID)
}

// renameInNetworks lets others find the running container by its new name.
func (c *Container) renameInNetworks() error {
	n, err := c.Sandbox()
	if n == nil || err != nil {
		return err
	}
	n.Name = c.Name
	return errors.Join(c.engine.Networks.Rename(c.ID, c.Name), n.Write(c.RunDir()))
}
