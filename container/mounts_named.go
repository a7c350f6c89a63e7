package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// nameMounts makes Record.Mounts of the settings' mounts and the image's
// volumes: anonymous volumes get a name, and every target is mounted once.
func (c *Container) nameMounts() error {
	c.Mounts = slices.Clone(c.Settings.Mounts)
	targets := make(map[string]bool)
	for target := range c.Settings.Tmpfs {
		clean, err := mountTarget(target)
		if err != nil {
			return fmt.Errorf("invalid tmpfs: %w", err)
		}
		if targets[clean] {
			return fmt.Errorf("two mounts have the target %s", clean)
		}
		targets[clean] = true
	}
	for _, m := range c.Mounts {
		if targets[m.Target] {
			return fmt.Errorf("two mounts have the target %s", m.Target)
		}
		targets[m.Target] = true
	}
	for _, target := range c.Image.Volumes {
		if !targets[target] {
			c.Mounts = append(c.Mounts, Mount{Type: MountVolume, Target: target})
		}
	}
	for i := range c.Mounts {
		if m := &c.Mounts[i]; m.Type == MountVolume && m.Source == "" {
			m.Source, m.Anonymous = newID(), true
		}
	}
	return nil
}

// resolveMounts makes sure that what the mounts need is there. done lets the
// volumes be removed again; call it when the record is written.
func (c *Container) resolveMounts(ctx context.Context) (done func(), err error) {
	var locks []*os.File
	done = func() {
		for _, lock := range locks {
			lock.Close()
		}
	}
	if err := c.nameMounts(); err != nil {
		return done, err
	}
	for _, m := range c.Mounts {
		if m.Type == MountBind {
			if err := bindSource(m); err != nil {
				return done, err
			}
		}
	}
	// One volume may be mounted twice, and two containers may use the same two:
	// locks are taken once each and in one order.
	volumes := slices.Clone(c.Mounts)
	volumes = slices.DeleteFunc(volumes, func(m Mount) bool { return m.Type != MountVolume })
	slices.SortStableFunc(volumes, func(a, b Mount) int { return cmp.Compare(a.Source, b.Source) })
	volumes = slices.CompactFunc(volumes, func(a, b Mount) bool { return a.Source == b.Source })
	if slices.ContainsFunc(volumes, func(m Mount) bool { return m.Anonymous }) {
		if err := os.WriteFile(c.file(unfinishedFile), nil, 0o600); err != nil {
			return done, err
		}
	}
	for _, m := range volumes {
		lock, err := c.useVolume(ctx, m)
		if err != nil {
			return done, err
		}
		locks = append(locks, lock)
	}
	return done, nil
}

// bindSource checks that a bind has something to bind.
func bindSource(m Mount) error {
	_, err := os.Stat(m.Source)
	if errors.Is(err, os.ErrNotExist) && m.CreateDir {
		return os.MkdirAll(m.Source, 0o755)
	}
	if err != nil {
		return fmt.Errorf("bind source: %w", err)
	}
	return nil
}
