package runtime

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// UpdateIntelRdt changes what a container's resctrl group shares: its L3 cache,
// its memory bandwidth, or both. A text that is empty changes nothing. Others in
// the same group share the change.
func (c *Container) UpdateIntelRdt(l3CacheSchema, memBwSchema string) error {
	r := &specs.LinuxIntelRdt{L3CacheSchema: l3CacheSchema, MemBwSchema: memBwSchema}
	if err := validateIntelRdt(r); err != nil {
		return err
	}
	lock, err := c.locked()
	if err != nil {
		return err
	}
	defer lock.Close()
	switch {
	case c.statusOfMade() == specs.StateStopped:
		return fmt.Errorf("container %q: %w", c.state.ID, ErrNotRunning)
	case c.state.IntelRdt == nil:
		return badField(rdtField, "is missing: the container %q was made without a resctrl group", c.state.ID)
	}
	root, err := openResctrl()
	if err != nil {
		return badField(rdtField, "%w", err)
	}
	defer root.Close()
	return shareRdt(root, c.state.IntelRdt.Group, r)
}
