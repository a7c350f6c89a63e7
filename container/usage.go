package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"loper.run/container/logs"
	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/internal/tree"
)

// DiskUsage is what lies below the engine's root, in bytes as du counts them.
type DiskUsage struct {
	Images     image.Usage
	Containers []ContainerUsage
	Volumes    []VolumeUsage
	// Other is what belongs to none of them: names and directories.
	Other int64
	// Damaged tells of images whose records can't be read.
	Damaged error
}

// ContainerUsage is what one container takes on disk.
type ContainerUsage struct {
	*Container
	Status Status
	Disk   int64 // without its logs
	Logs   int64
}

// VolumeUsage is what one volume takes on disk.
type VolumeUsage struct {
	*Volume
	Disk int64
	// Users are the names of the containers that mount it.
	Users []string
}

// Total is all together, which is what du says of the root.
func (u *DiskUsage) Total() int64 {
	sum := u.Images.Disk + u.Images.Downloads + u.Other
	for _, c := range u.Containers {
		sum += c.Disk + c.Logs
	}
	for _, v := range u.Volumes {
		sum += v.Disk
	}
	return sum
}

// DiskUsage adds up everything below the engine's root.
func (e *Engine) DiskUsage(ctx context.Context) (*DiskUsage, error) {
	parts, err := e.measure(ctx)
	if err != nil {
		return nil, err
	}
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	u := &DiskUsage{}
	counted := map[string]bool{}
	for _, c := range list {
		status, err := c.Status()
		if err != nil {
			status = Status{State: Dead, Error: err.Error()}
		}
		usage := ContainerUsage{Container: c, Status: status}
		dir := filepath.Join(containerDir, c.ID)
		for path, part := range parts {
			switch {
			case path != dir && !strings.HasPrefix(path, dir+"/"):
				continue
			case strings.HasPrefix(path, dir+"/"+logs.FileName):
				usage.Logs += part.Disk
			default:
				usage.Disk += part.Disk
			}
			counted[path] = true
		}
		u.Containers = append(u.Containers, usage)
	}
	volumes, err := e.VolumeList()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		path := filepath.Join(volumeDir, v.Name)
		users, err := e.volumeUsers(v.Name)
		if err != nil {
			return nil, err
		}
		u.Volumes = append(u.Volumes, VolumeUsage{v, parts[path].Disk, users})
		counted[path] = true
	}
	images := map[string]tree.Usage{}
	for path, part := range parts {
		below, isImage := strings.CutPrefix(path, imageDir+"/")
		switch {
		case isImage:
			images[below] = part
		case path == imageDir:
			images["."] = part
		case !counted[path]:
			u.Other += part.Disk
		}
	}
	users, err := e.imageUsers(nil)
	if err != nil {
		return nil, err
	}
	u.Images, u.Damaged = e.Images.Usage(images, func(id oci.Digest) []string { return users[id.String()] })
	return u, nil
}

// measure adds up the root by containers' files, volumes, parts of images, and
// the rest.
func (e *Engine) measure(ctx context.Context) (map[string]tree.Usage, error) {
	dir, err := os.Open(e.Root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return tree.MeasureMapped(ctx, dir, map[string]int{containerDir: 3, volumeDir: 2, imageDir: 1 + image.UsageDepth})
}
