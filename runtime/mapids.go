package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mapIDs gives a detached mount the id mappings of a user namespace.
func mapIDs(mount, user *os.File, recursive bool) error {
	err := setIDMap(mount, user, recursive)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s can't map user ids; '--userns host' does without", unmappable(mount.Name(), user, recursive))
	}
	if err != nil {
		return &os.PathError{Op: "id-map", Path: mount.Name(), Err: err}
	}
	return nil
}

func setIDMap(mount, user *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(int(mount.Fd()), "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Fd())})
	runtime.KeepAlive(mount)
	runtime.KeepAlive(user)
	return err
}

// unmappable names the mount, at a path or below it, that refuses id mappings,
// and its file system. The kernel doesn't say which, so each is tried.
func unmappable(path string, user *os.File, recursive bool) string {
	around := &mountinfo.Info{}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		if within(path, m.Mountpoint) && len(m.Mountpoint) >= len(around.Mountpoint) {
			around = m
		}
		return !recursive || !within(m.Mountpoint, path) || m.Mountpoint == path, false
	})
	if err != nil {
		return path
	}
	for _, m := range mounts {
		tree, err := openTree(m.Mountpoint, 0)
		if err != nil {
			continue
		}
		err = setIDMap(tree, user, false)
		tree.Close()
		if err != nil {
			return fmt.Sprintf("%s, mounted below %s, is a file system (%s) that", m.Mountpoint, path, m.FSType)
		}
	}
	return fmt.Sprintf("%s lies on a file system (%s) that", path, around.FSType)
}

// within tells whether a path is a directory or lies below it.
func within(path, dir string) bool {
	rest, found := strings.CutPrefix(filepath.Clean(path), strings.TrimSuffix(dir, "/"))
	return found && (rest == "" || rest[0] == '/')
}
