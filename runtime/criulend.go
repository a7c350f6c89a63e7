package runtime

import (
	"errors"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// lent are images that the root of a user namespace may read for a while: the
// restored processes read the rest of them by themselves, when they have that
// root's rights already.
type lent struct {
	items []lentItem
	dirs  []*os.File
}

type lentItem struct {
	dir  *os.File
	name string // "." is the directory itself
	gid  int
	mode uint32
}

// maxParents bounds the chain of pre-dumps.
const maxParents = 100

// lend lets the group of the container's root read the images and those of
// their parents. It does nothing for a container without a new user namespace.
func (l *lent) lend(images *os.File, spec *specs.Spec) error {
	if !fresh(spec, specs.UserNamespace) {
		return nil
	}
	gid, ok := hostID(spec.Linux.GIDMappings, 0)
	if !ok {
		return badField("linux.gidMappings", "has no root, who reads the images")
	}
	at := images
	for range maxParents {
		dir, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(at.Fd())))
		if err != nil {
			return err
		}
		l.dirs = append(l.dirs, dir)
		names, err := dir.Readdirnames(-1)
		if err != nil {
			return err
		}
		for _, name := range append(names, ".") {
			if err := l.lendOne(dir, name, int(gid)); err != nil {
				return err
			}
		}
		fd, err := unix.Openat(int(dir.Fd()), "parent", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "open the parent images of", Path: dir.Name(), Err: err}
		}
		at = os.NewFile(uintptr(fd), "parent")
		defer at.Close()
	}
	return errors.New("the checkpoint has too many parents")
}

func (l *lent) lendOne(dir *os.File, name string, gid int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "look at", Path: name, Err: err}
	}
	more := uint32(0o040)
	switch {
	case name == ".":
		more |= 0o010
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil
	}
	l.items = append(l.items, lentItem{dir, name, int(st.Gid), st.Mode & 0o7777})
	return change(dir, name, gid, st.Mode&0o7777|more)
}

func change(dir *os.File, name string, gid int, mode uint32) error {
	if err := unix.Fchownat(int(dir.Fd()), name, -1, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "chgrp", Path: name, Err: err}
	}
	if err := unix.Fchmodat(int(dir.Fd()), name, mode, 0); err != nil {
		return &os.PathError{Op: "chmod", Path: name, Err: err}
	}
	return nil
}

// back undoes it.
func (l *lent) back() {
	for _, i := range l.items {
		_ = change(i.dir, i.name, i.gid, i.mode) // it was there and ours a moment ago
	}
	closeAll(l.dirs)
}
