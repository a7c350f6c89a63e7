// Package tree looks over whole directory trees that others filled: what they
// take on disk, and what every entry is. It follows no link, opens nothing but
// directories unless contents are asked for, and keeps few descriptors however
// deep a tree goes. What belongs to an ordinary user's other ids is read inside
// his user namespace.
package tree

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// entry is one name in a tree.
type entry struct {
	path string // from the top, "." for the top itself
	dir  int    // the directory that has it
	name string // in dir
	st   *unix.Stat_t
}

// maxOpen is how many directories are open at once, one below the other.
const maxOpen = 64

// walker goes over one tree.
type walker struct {
	visit func(entry) error
	// lenient walks leave out what vanishes or cannot be read.
	lenient bool
	buf     []byte
	open    int
}

// walk calls visit for the directory and each entry below it, a directory
// before what it has, names in the order of their bytes.
func walk(dir *os.File, lenient bool, visit func(entry) error) error {
	w := &walker{visit: visit, lenient: lenient, buf: make([]byte, 32<<10)}
	top, err := openDir(int(dir.Fd()), ".")
	if err != nil {
		return fmt.Errorf("read %s: %w", dir.Name(), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(top, &st); err != nil {
		unix.Close(top)
		return fmt.Errorf("read %s: %w", dir.Name(), err)
	}
	if err := visit(entry{path: ".", dir: top, name: ".", st: &st}); err != nil {
		unix.Close(top)
		return err
	}
	top, err = w.directory(top, "")
	if top >= 0 {
		unix.Close(top)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", dir.Name(), err)
	}
	return nil
}

// directory visits what an open directory has. It returns a descriptor of that
// directory again, since on the way down those of the upper ones are closed; -1
// when the way back is lost.
func (w *walker) directory(fd int, prefix string) (int, error) {
	names, err := w.names(fd)
	if err != nil {
		return fd, w.forgive(err, prefix)
	}
	slices.Sort(names)
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			err = w.visit(entry{path: prefix + name, dir: fd, name: name, st: &st})
			if err != nil {
				return fd, err
			}
		}
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			fd, err = w.below(fd, name, prefix+name+"/")
			if fd < 0 {
				return fd, err
			}
		}
		if err = w.forgive(err, prefix+name); err != nil {
			return fd, err
		}
	}
	return fd, nil
}

// below visits a directory in fd, and returns fd or its like.
func (w *walker) below(fd int, name, prefix string) (int, error) {
	var here unix.Stat_t
	if err := unix.Fstat(fd, &here); err != nil {
		return fd, err
	}
	sub, err := openDir(fd, name)
	if err != nil {
		return fd, err
	}
	deep := w.open >= maxOpen
	if deep {
		unix.Close(fd)
	}
	w.open++
	sub, err = w.directory(sub, prefix)
	w.open--
	if !deep {
		if sub >= 0 {
			unix.Close(sub)
		}
		return fd, err
	}
	if sub < 0 {
		return -1, err
	}
	defer unix.Close(sub)
	up, upErr := openDir(sub, "..")
	if upErr != nil {
		return -1, errors.Join(err, upErr)
	}
	var there unix.Stat_t
	if upErr = unix.Fstat(up, &there); upErr != nil || there.Ino != here.Ino || there.Dev != here.Dev {
		unix.Close(up)
		return -1, errors.Join(err, fmt.Errorf("%s was moved meanwhile", prefix))
	}
	return up, err
}

// forgive drops the errors that a lenient walk does not mind.
func (w *walker) forgive(err error, path string) error {
	if err == nil || w.lenient && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		return nil
	}
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return err
	}
	return &os.PathError{Op: "read", Path: path, Err: err}
}

// names lists an open directory.
func (w *walker) names(fd int) (names []string, err error) {
	for {
		n, err := unix.ReadDirent(fd, w.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(w.buf[:n], -1, names)
	}
}

func openDir(dir int, name string) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
