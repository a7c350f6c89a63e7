package layer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxOpen is how many directories stay open. Streams go through a tree in
// order, so this need not be much more than a usual tree's depth.
const maxOpen = 64

// dirs keeps the directories that were used last open, by their clean path.
type dirs struct {
	root  int
	open  map[string]*openDir
	last  *openDir
	clock uint64
}

type openDir struct {
	path string
	fd   int
	used uint64
}

// get returns an open directory, -1 when it has to be opened.
func (c *dirs) get(path string) int {
	if path == "." {
		return c.root
	}
	d := c.last
	if d == nil || d.path != path {
		if d = c.open[path]; d == nil {
			return -1
		}
		c.last = d
	}
	c.clock++
	d.used = c.clock
	return d.fd
}

// put takes over an open directory. The descriptor that get or put returned
// last before stays open.
func (c *dirs) put(path string, fd int) {
	if d := c.open[path]; d != nil {
		unix.Close(d.fd)
		delete(c.open, path)
	}
	if len(c.open) >= maxOpen {
		var oldest *openDir
		for _, d := range c.open {
			if oldest == nil || d.used < oldest.used {
				oldest = d
			}
		}
		unix.Close(oldest.fd)
		delete(c.open, oldest.path)
	}
	c.clock++
	c.last = &openDir{path: path, fd: fd, used: c.clock}
	c.open[path] = c.last
}

// forget closes all: a path may lead elsewhere now.
func (c *dirs) forget() {
	for _, d := range c.open {
		unix.Close(d.fd)
	}
	clear(c.open)
	c.last = nil
}

// find opens the directory at a clean path, whose links are followed inside
// the layer. The descriptor stays the cache's.
func (u *unpacker) find(path string) (int, error) {
	if fd := u.dirs.get(path); fd >= 0 {
		return fd, nil
	}
	fd, err := openBeneath(u.dirs.root, path)
	if err != nil {
		return -1, err
	}
	u.dirs.put(path, fd)
	return fd, nil
}

// parent is find for a directory that is to get an entry: what is missing on
// the way is made, as root's and with mode 0755.
func (u *unpacker) parent(path string) (int, error) {
	fd, err := u.find(path)
	if err == nil || path == "." {
		return fd, err
	}
	covered := false
	switch err {
	case unix.ENOENT:
	case unix.ENOTDIR:
		// A whiteout that came before the entries of the directory it hides.
		covered = true
	default:
		return -1, parentError(path, err)
	}
	above, base := split(path)
	dir, uerr := u.parent(above)
	if uerr != nil {
		return -1, uerr
	}
	if covered {
		var st unix.Stat_t
		switch serr := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); {
		case serr == unix.ENOENT: // it was a directory above
			covered = false
		case serr != nil || !isWhiteout(&st):
			return -1, parentError(path, err)
		default:
			if err := unix.Unlinkat(dir, base, 0); err != nil {
				return -1, parentError(path, err)
			}
		}
	}
	if err := retry(func() error { return unix.Mkdirat(dir, base, 0o755) }); err != nil {
		if err == unix.EEXIST { // the path was not found, so this is a link to nothing
			return -1, fmt.Errorf("its directory %s is a link to what the layer does not have", quote(path))
		}
		return -1, parentError(path, err)
	}
	if fd, err = opendir(dir, base); err != nil {
		return -1, parentError(path, err)
	}
	u.dirs.put(path, fd)
	if u.umask&0o755 != 0 {
		if err := unix.Fchmod(fd, 0o755); err != nil {
			return -1, parentError(path, err)
		}
	}
	if err := u.own(fd, 0, 0, true); err != nil {
		return -1, err
	}
	if covered {
		return fd, u.opaque(fd)
	}
	return fd, nil
}

func parentError(path string, err error) error {
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("openat2 is needed (Linux 5.6): %w", err)
	}
	return fmt.Errorf("its directory %s: %w", quote(path), err)
}
