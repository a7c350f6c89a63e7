package runtime

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"loper.run/internal/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// prepareMounts makes the mounts that are handed to the container, mapped to
// the ids of its user namespace (nil: none of its own).
func prepareMounts(spec *specs.Spec, set Settings, handovers []Handover, user *os.File) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	for _, h := range handovers {
		var f *os.File
		switch {
		case h.Mount >= 0:
			f, err = bindSource(spec, h.Mount, user)
		case set.Overlay != nil:
			f, err = mountOverlay(set.Overlay, user)
		default:
			f, err = openTree(spec.Root.Path, unix.AT_RECURSIVE)
			if err != nil {
				err = badField("root.path", "%w", err)
			}
		}
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// openTree copies the mount at a path, detached from any mount namespace.
func openTree(path string, flags uint) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// bindSource copies the source of a bind mount and maps its ids when the spec
// asks for it.
func bindSource(spec *specs.Spec, index int, user *os.File) (*os.File, error) {
	m := spec.Mounts[index]
	field := fmt.Sprintf("mounts[%d].source", index)
	o := parseMountOptions(m)
	var flags uint
	if o.recursive {
		flags = unix.AT_RECURSIVE
	}
	f, err := openTree(m.Source, flags)
	if err != nil {
		return nil, badField(field, "%w", err)
	}
	if !o.idmap {
		return f, nil
	}
	mapper := user
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		if mapper, err = userNamespace(m.UIDMappings, m.GIDMappings); err != nil {
			f.Close()
			return nil, badField(field, "%w", err)
		}
		defer mapper.Close()
	}
	if mapper == nil {
		f.Close()
		return nil, badField(field, "an id-mapped mount without mappings needs a user namespace")
	}
	if err := mapIDs(f, mapper, o.recIDMap); err != nil {
		f.Close()
		return nil, badField(field, "%w", err)
	}
	return f, nil
}

// mapIDs gives a detached mount the id mappings of a user namespace.
func mapIDs(mount, user *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(int(mount.Fd()), "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user.Fd())})
	runtime.KeepAlive(mount)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s lies on a file system (%s) that can't map user ids; '--userns host' does without", mount.Name(), filesystemName(mount))
	}
	if err != nil {
		return &os.PathError{Op: "id-map", Path: mount.Name(), Err: err}
	}
	return nil
}

// filesystemName names the file system behind a mount, for an error message.
func filesystemName(f *os.File) string {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return "unknown"
	}
	switch int64(st.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "cifs"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup"
	}
	return fmt.Sprintf("type %#x", st.Type)
}

// userNamespace makes a user namespace with the given ids and nothing in it.
// Its one process waits for as long as the caller needs the mappings written.
func userNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	p, err := startWaiting(unix.CLONE_NEWUSER)
	if err != nil {
		return nil, err
	}
	defer p.Abort()
	if err := userns.Write(p.Pid(), uids, gids); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid()))
}
