package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// beneath is how every file of a hierarchy is reached: no link is followed, no other file system is entered and the
// hierarchy's root is never left, whatever a container with write access to its own groups put there.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// maxFile bounds what is read from one cgroup file (cgroup.procs apart, which has a line for each process).
const maxFile = 4 << 20

// openIn opens rel below the directory dirfd; "" is the directory itself.
func openIn(dirfd int, rel string, flags int) (int, error) {
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: beneath}
	for {
		fd, err := unix.Openat2(dirfd, rel, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

func openRoot(root string) (int, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	return fd, nil
}

// open opens a file of the group, or its directory when name is "".
func (g group) open(name string, flags int) (int, error) {
	root, err := openRoot(g.root)
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	fd, err := openIn(root, path.Join(g.rel, name), flags)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path.Join(g.root, g.rel, name), Err: err}
	}
	return fd, nil
}

func (g group) openDir() (int, error) { return g.open("", unix.O_PATH|unix.O_DIRECTORY) }

func (g group) read(name string) (string, error) {
	fd, err := g.open(name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readFD(fd)
}

func (g group) write(name, value string) error {
	fd, err := g.open(name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := writeFD(fd, value); err != nil {
		return &fs.PathError{Op: "write " + value + " to", Path: path.Join(g.root, g.rel, name), Err: err}
	}
	return nil
}

// exists asks whether the group's directory is there.
func (g group) exists() bool {
	fd, err := g.openDir()
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// readAt and writeAt do the same for a file of an open group directory.
func readAt(dir int, name string) (string, error) {
	fd, err := openIn(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readFD(fd)
}

func writeAt(dir int, name, value string) error {
	fd, err := openIn(dir, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeFD(fd, value)
}

// writeFD writes value with one call, which is what makes it one command to the kernel.
func writeFD(fd int, value string) error {
	for {
		n, err := unix.Write(fd, []byte(value))
		switch {
		case err == unix.EINTR:
		case err == nil && n != len(value):
			return fmt.Errorf("only %d of %d bytes were taken", n, len(value))
		default:
			return err
		}
	}
}

func readFD(fd int) (string, error) {
	var small [1024]byte
	var rest []byte
	for {
		n, err := unix.Read(fd, small[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return "", err
		case n == 0:
			return string(rest), nil
		case len(rest)+n > maxFile:
			return "", errors.New("file is too long")
		default:
			rest = append(rest, small[:n]...)
		}
	}
}

// made remembers a directory that Create made, to take back.
type made struct{ group }

// level is one group on the way down to a container's.
type level struct {
	parent, dir int  // open directories
	created     bool // it did not exist
	leaf        bool // it is the container's own
}

// mkdirs makes the group and those above it that are missing, and calls each for every one of them, from the top. It
// returns the group's open directory, and whether it made that one.
func (g group) mkdirs(undo *[]made, each func(level) error) (dir int, created bool, err error) {
	dir, err = openRoot(g.root)
	if err != nil {
		return -1, false, err
	}
	rel := ""
	for part := range strings.SplitSeq(g.rel, "/") {
		rel = path.Join(rel, part)
		here := group{g.root, rel}
		created = false
		if err = unix.Mkdirat(dir, part, 0o755); err == nil {
			created = true
			*undo = append(*undo, made{here})
		} else if err != unix.EEXIST {
			unix.Close(dir)
			return -1, false, &fs.PathError{Op: "mkdir", Path: here.path(), Err: err}
		}
		next, err := openIn(dir, part, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			unix.Close(dir)
			return -1, false, &fs.PathError{Op: "open", Path: here.path(), Err: err}
		}
		if each != nil {
			if err = each(level{dir, next, created, rel == g.rel}); err != nil {
				unix.Close(dir)
				unix.Close(next)
				return -1, false, fmt.Errorf("cgroup %s: %w", here.path(), err)
			}
		}
		unix.Close(dir)
		dir = next
	}
	return dir, created, nil
}

// takeBack removes what a failed Create made, the deepest first. Groups that others have filled meanwhile stay.
func takeBack(all []made) {
	for i := len(all) - 1; i >= 0; i-- {
		_ = all[i].remove(time.Now())
	}
}

// remove removes the group and those below it; it retries while processes are on their way out, until the deadline.
func (g group) remove(deadline time.Time) error {
	root, err := openRoot(g.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(root)
	parent, err := openIn(root, strings.TrimPrefix(path.Dir("/"+g.rel), "/"), unix.O_PATH|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		return nil
	} else if err != nil {
		return &fs.PathError{Op: "open", Path: path.Dir(g.path()), Err: err}
	}
	defer unix.Close(parent)
	if err := removeIn(parent, path.Base(g.rel), deadline, 0); err != nil {
		return &fs.PathError{Op: "rmdir", Path: g.path(), Err: err}
	}
	return nil
}

func removeIn(parent int, name string, deadline time.Time, depth int) error {
	for delay := 100 * time.Microsecond; ; delay = min(2*delay, 20*time.Millisecond) {
		err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EINTR:
			continue
		case unix.EBUSY, unix.ENOTEMPTY:
		default:
			return err
		}
		if depth < maxDepth {
			if err := removeChildren(parent, name, deadline, depth+1); err != nil {
				return err
			}
			if err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err == nil || err == unix.ENOENT {
				return nil
			}
		}
		if !time.Now().Before(deadline) {
			return err
		}
		time.Sleep(delay)
	}
}

func removeChildren(parent int, name string, deadline time.Time, depth int) error {
	dir, err := openIn(parent, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOENT {
		return nil
	} else if err != nil {
		return err
	}
	list, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(dir)
		return err
	}
	defer unix.Close(list)
	names, err := subdirs(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeIn(list, n, deadline, depth); err != nil {
			return err
		}
	}
	return nil
}

// entries names everything in fd, which it closes.
func entries(fd int) ([]string, error) {
	f := os.NewFile(uintptr(fd), "cgroup")
	defer f.Close()
	return f.Readdirnames(-1)
}

// subdirs names the directories in fd, which it closes.
func subdirs(fd int) ([]string, error) {
	f := os.NewFile(uintptr(fd), "cgroup")
	defer f.Close()
	entries, err := f.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
