package runtime

import (
	"errors"
	"fmt"
	"os"

	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits that r has and leaves all others (runtime-spec, config-linux.md, "Control groups"). Device
// rules are replaced when r has any. Either all of r holds afterwards, or, on an error, what held before. A stopped
// container is refused with ErrNotRunning.
func (c *Container) Update(r *specs.LinuxResources) error {
	lock, err := c.locked()
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("container %q: %w", c.state.ID, os.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if c.statusOfMade() == specs.StateStopped {
		return fmt.Errorf("container %q: %w", c.state.ID, ErrNotRunning)
	}
	m, err := c.Cgroup()
	if err != nil {
		return err
	}
	if err := m.Set(r); err != nil {
		return fmt.Errorf("update container %q: %w", c.state.ID, err)
	}
	return nil
}

// Stats reads what the container has used. It fails with cgroup.ErrNoGroup for one that has no cgroup.
func (c *Container) Stats() (*cgroup.Stats, error) {
	m, err := c.Cgroup()
	if err != nil {
		return nil, err
	}
	return m.Stats()
}

// WatchOOM begins to watch for the kernel's out-of-memory killer in the container's group.
func (c *Container) WatchOOM() (*cgroup.OOMWatch, error) {
	m, err := c.Cgroup()
	if err != nil {
		return nil, err
	}
	return m.WatchOOM()
}
