package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// merged is a directory as an overlay of layers shows it: the directories of
// that path in each layer, the highest first. It looks names up one component
// at a time from descriptors and so never leaves the layers, whatever symbolic
// links they hold, and needs no mount and no privilege.
type merged struct {
	dirs []*os.File
}

// maxLinks is how many symbolic links one lookup follows, as in the kernel.
const maxLinks = 40

// openMerged opens the root of layers, given lowest first. Layers that do not
// exist are passed over.
func openMerged(layers []string) (*merged, error) {
	m := &merged{}
	for i := len(layers) - 1; i >= 0; i-- {
		d, err := os.OpenFile(layers[i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			m.Close()
			return nil, err
		}
		m.dirs = append(m.dirs, d)
	}
	return m, nil
}

// Close closes the descriptors.
func (m *merged) Close() {
	for _, d := range m.dirs {
		d.Close()
	}
	m.dirs = nil
}

// found is what a name stands for: a directory, which may have parts in
// several layers, or else one object of one layer.
type found struct {
	dir  *merged
	at   *os.File // the layer's directory that holds the object
	name string
	stat unix.Stat_t
}

// step looks one name up in m without following a link at its end.
// The object's directory stays open until m is closed.
func (m *merged) step(name string) (found, error) {
	f := found{name: name}
	for _, d := range m.dirs {
		var st unix.Stat_t
		err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			f.close()
			return f, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if f.dir == nil && !isWhiteout(&st) {
				f.at, f.stat = d, st
				return f, nil
			}
			break
		}
		fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			f.close()
			return f, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		if f.dir == nil {
			f.dir, f.stat = &merged{}, st
		}
		f.dir.dirs = append(f.dir.dirs, os.NewFile(uintptr(fd), name))
		if isOpaque(fd) {
			break
		}
	}
	if f.dir == nil {
		return f, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	return f, nil
}

func (f found) close() {
	if f.dir != nil {
		f.dir.Close()
	}
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// isOpaque reports whether the directory hides those of lower layers.
func isOpaque(fd int) bool {
	var value [1]byte
	for _, name := range [...]string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if n, err := unix.Fgetxattr(fd, name, value[:]); err == nil && n == 1 && value[0] == 'y' {
			return true
		}
	}
	return false
}

// walk calls use with what path stands for; all descriptors are closed after it.
func (m *merged) walk(path string, use func(found) error) error {
	rest := strings.Split(path, "/")
	chain := []*merged{m} // the directories passed, for ..
	defer func() {
		for _, d := range chain[1:] {
			d.Close()
		}
	}()
	for links := 0; ; {
		for len(rest) > 0 && (rest[0] == "" || rest[0] == ".") {
			rest = rest[1:]
		}
		here := chain[len(chain)-1]
		if len(rest) == 0 {
			return use(found{dir: here, name: "."})
		}
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if len(chain) > 1 {
				here.Close()
				chain = chain[:len(chain)-1]
			}
			continue
		}
		f, err := here.step(name)
		if err != nil {
			return err
		}
		switch {
		case f.dir != nil:
			chain = append(chain, f.dir)
		case f.stat.Mode&unix.S_IFMT == unix.S_IFLNK:
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			target, err := readlinkat(f.at, name)
			if err != nil {
				return err
			}
			if strings.HasPrefix(target, "/") {
				for _, d := range chain[1:] {
					d.Close()
				}
				chain = chain[:1]
			}
			rest = append(strings.Split(target, "/"), rest...)
		case len(rest) > 0:
			return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
		default:
			return use(f)
		}
	}
}

func readlinkat(dir *os.File, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// open opens the object, which must be a regular file, for reading.
func (f found) open() (*os.File, error) {
	if f.dir != nil || f.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", f.name)
	}
	fd, err := unix.Openat(int(f.at.Fd()), f.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.name, Err: err}
	}
	return os.NewFile(uintptr(fd), f.name), nil
}
