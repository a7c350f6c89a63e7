package container

import (
	"context"
	"errors"
	"slices"
)

// Prune says which containers or volumes to remove.
type Prune struct {
	// Container, when set, is asked about each container that has stopped;
	// Volume about each volume that no container mounts.
	Container func(*Container) bool
	Volume    func(*Volume) bool
	// All removes volumes that somebody named as well.
	All bool
	// DryRun only tells what would be.
	DryRun bool
	// Gone are the containers, by id, that are to be taken for removed.
	Gone []string
}

// Pruned is what was removed, by id or name, and what that freed on disk, in bytes.
type Pruned struct {
	Names []string
	Space int64
}

// PruneContainers removes the containers that do not run.
func (e *Engine) PruneContainers(ctx context.Context, p Prune) (Pruned, error) {
	var done Pruned
	u, err := e.DiskUsage(ctx)
	if err != nil {
		return done, err
	}
	for _, c := range u.Containers {
		if c.Status.Alive() || c.Status.State == Removing || p.Container != nil && !p.Container(c.Container) {
			continue
		}
		if !p.DryRun {
			// It may have been started since.
			err := c.Remove(RemoveOptions{})
			if errors.Is(err, ErrRunning) {
				continue
			}
			if err != nil {
				return done, err
			}
		}
		done.Names = append(done.Names, c.ID)
		done.Space += c.Disk + c.Logs
	}
	return done, nil
}

// PruneVolumes removes the volumes that no container mounts: the anonymous ones,
// or all.
func (e *Engine) PruneVolumes(ctx context.Context, p Prune) (Pruned, error) {
	var done Pruned
	u, err := e.DiskUsage(ctx)
	if err != nil {
		return done, err
	}
	gone := map[string]bool{}
	for _, c := range u.Containers {
		gone[c.Name] = slices.Contains(p.Gone, c.ID)
	}
	for _, v := range u.Volumes {
		used := slices.ContainsFunc(v.Users, func(name string) bool { return !gone[name] })
		if used || !p.All && !v.Anonymous || p.Volume != nil && !p.Volume(v.Volume) {
			continue
		}
		if !p.DryRun {
			err := e.VolumeRemove(v.Name, true)
			if errors.Is(err, ErrVolumeInUse) {
				continue // since a moment
			}
			if err != nil {
				return done, err
			}
		}
		done.Names = append(done.Names, v.Name)
		done.Space += v.Disk
	}
	return done, nil
}
