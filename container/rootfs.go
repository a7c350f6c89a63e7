package container

import (
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/runtime"
)

// The parts of a root file system in the container's directory.
const (
	upperDir    = "upper"
	workDir     = "work"
	skeletonDir = "skeleton"
)

// overlay is the root file system: the image's layers and the container's own
// upper directory. What a --rm container writes is never synced.
func (c *Container) overlay() *runtime.Overlay {
	o := &runtime.Overlay{Lower: c.Layers, Upper: c.file(upperDir), Work: c.file(workDir), Volatile: c.Settings.AutoRemove}
	if c.hasSkeleton() {
		o.Lower = []string{c.file(skeletonDir)}
	}
	return o
}

// hasSkeleton: the kernel lets no ordinary user take "/" as a layer, since
// something is mounted below it; a skeleton with the same top stands in.
func (c *Container) hasSkeleton() bool { return c.Builtin == "host" && c.engine.Rootless }

// makeRootfs makes the directories of the overlay, owned by the container's root.
func (c *Container) makeRootfs(uids, gids []specs.LinuxIDMapping) error {
	if c.hasSkeleton() {
		if err := makeSkeleton(c.file(skeletonDir)); err != nil {
			return err
		}
	}
	var top unix.Stat_t
	top.Mode = 0o755
	if n := len(c.Layers); n > 0 && !c.engine.Rootless {
		if err := unix.Stat(c.Layers[n-1], &top); err != nil {
			return &os.PathError{Op: "stat", Path: c.Layers[n-1], Err: err}
		}
	}
	for _, dir := range []string{upperDir, workDir} {
		path := c.file(dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		// The kernel takes the root's mode and owner from the upper directory.
		if err := unix.Chmod(path, top.Mode&0o7777); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
		if err := chownMapped(path, top.Uid, top.Gid, uids, gids, c.engine.Rootless); err != nil {
			return err
		}
	}
	return nil
}

// chownMapped gives a file to a user and group as the container numbers them.
// An ordinary user's files are the container root's already.
func chownMapped(path string, uid, gid uint32, uids, gids []specs.LinuxIDMapping, rootless bool) error {
	if rootless {
		return nil
	}
	return os.Chown(path, hostID(uid, uids), hostID(gid, gids))
}

// hostID is the host's number for an id of the container; root's for one that
// the container does not have.
func hostID(id uint32, maps []specs.LinuxIDMapping) int {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return int(m.HostID + id - m.ContainerID)
		}
	}
	if len(maps) > 0 {
		return int(maps[0].HostID)
	}
	return int(id)
}

// hostTop lists the host's top-level directories that a sandbox shows, and the
// symbolic links beside them by name.
func hostTop() (dirs []string, links map[string]string, err error) {
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil, nil, err
	}
	links = make(map[string]string)
	for _, entry := range entries {
		name := entry.Name()
		switch name {
		case "proc", "sys", "dev", "run", "tmp", "lost+found":
			continue
		}
		switch entry.Type() {
		case os.ModeDir:
			dirs = append(dirs, "/"+name)
		case os.ModeSymlink:
			if links[name], err = os.Readlink("/" + name); err != nil {
				return nil, nil, err
			}
		}
	}
	return dirs, links, nil
}

func makeSkeleton(path string) error {
	dirs, links, err := hostTop()
	if err != nil {
		return fmt.Errorf("image host: %w", err)
	}
	for _, dir := range append([]string{"", "/proc", "/sys", "/dev", "/run", "/tmp"}, dirs...) {
		if err := os.Mkdir(filepath.Join(path, dir), 0o755); err != nil {
			return err
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}
