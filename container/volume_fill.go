package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"loper.run/image/overlay"

	"loper.run/internal/tree"
	"loper.run/internal/userns"
)

// maxDepth bounds the directories within one another of what is copied.
const maxDepth = 512

// fill copies what the image has at the mount's target into the locked volume,
// if nothing is in it yet. A copy that was killed is begun anew.
func (c *Container) fill(ctx context.Context, v *Volume, m Mount) error {
	record := volumeRecord{CreatedAt: v.CreatedAt, Labels: v.Labels, Anonymous: v.Anonymous, Owner: v.Owner}
	set := func(state string) error {
		record.Fill = state
		return c.engine.writeVolume(v.Name, record)
	}
	if v.Fill == "filling" {
		if err := c.engine.removeTree(v.Mountpoint); err != nil {
			return err
		}
		if err := os.Mkdir(v.Mountpoint, 0o755); err != nil {
			return err
		}
	}
	dst, err := os.Open(v.Mountpoint)
	if err != nil {
		return err
	}
	defer dst.Close()
	names, err := dst.Readdirnames(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if m.NoCopy {
		return nil // the next container may still fill it
	}
	if len(names) > 0 {
		return set("done")
	}
	if err := set("filling"); err != nil {
		return err
	}
	layers := c.Layers
	if c.engine.Rootless {
		err = userns.Worker{Name: fillWorker, Args: append([]string{m.Target}, layers...), Files: []*os.File{dst}}.Run(ctx)
	} else {
		err = fillFrom(layers, m.Target, dst)
	}
	if err != nil {
		return err
	}
	if !v.Anonymous {
		if err := unix.Syncfs(int(dst.Fd())); err != nil {
			return err
		}
	}
	return set("done")
}

const (
	fillWorker   = "container-fill"
	removeWorker = "container-remove"
)

// Workers registers what an ordinary user's engine runs inside the user
// namespace. Call it before userns.Main.
func Workers() {
	tree.Workers()
	userns.Register(fillWorker, func(args []string) error {
		if len(args) < 1 {
			return errors.New("want a target and layers")
		}
		return fillFrom(args[1:], args[0], os.NewFile(3, "volume"))
	})
	userns.Register(removeWorker, func(args []string) error {
		if len(args) == 0 {
			return errors.New("want names")
		}
		return removeAt(os.NewFile(3, "parent"), args...)
	})
}

// fillFrom copies the directory at target in the layers, the lowest first,
// into dst, with owners, modes, times and extended attributes. Nothing of the
// layers is followed out of them, and nothing is written but below dst.
func fillFrom(layers []string, target string, dst *os.File) error {
	m, err := overlay.Open(layers)
	if err != nil {
		return err
	}
	defer m.Close()
	err = m.Walk(target, func(f overlay.Entry) error {
		if f.Dir == nil {
			return nil // a file, over which a directory will be mounted
		}
		return (&copier{root: dst, links: map[[2]uint64]string{}}).dir(f.Dir, dst, ".", 0)
	})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}

type copier struct {
	root  *os.File
	links map[[2]uint64]string // where the first name of a hard-linked file went, below root
}

// dir copies the contents of a merged directory into dst, which is path below
// the root, and then its attributes.
func (c *copier) dir(src *overlay.View, dst *os.File, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: more than %d directories within one another", path, maxDepth)
	}
	names, err := src.Names(false)
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := src.Step(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // a whiteout
		}
		if err != nil {
			return err
		}
		err = c.entry(f, dst, path+"/"+name, depth)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return copyAttributes(src.Top(), dst)
}

func (c *copier) entry(f overlay.Entry, dst *os.File, path string, depth int) error {
	to := int(dst.Fd())
	key := [2]uint64{f.Stat.Dev, f.Stat.Ino}
	if first := c.links[key]; first != "" && f.Dir == nil {
		return unix.Linkat(int(c.root.Fd()), first, to, f.Name, 0)
	}
	switch f.Stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := unix.Mkdirat(to, f.Name, 0o700); err != nil {
			return err
		}
		fd, err := unix.Openat(to, f.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		sub := os.NewFile(uintptr(fd), f.Name)
		defer sub.Close()
		return c.dir(f.Dir, sub, path, depth+1)
	case unix.S_IFREG:
		if err := copyFile(f, to); err != nil {
			return err
		}
	case unix.S_IFLNK:
		target, err := f.Readlink()
		if err != nil {
			return err
		}
		if err := unix.Symlinkat(target, to, f.Name); err != nil {
			return err
		}
		if err := chownTo(to, f); err != nil {
			return err
		}
	case unix.S_IFIFO:
		if err := unix.Mknodat(to, f.Name, unix.S_IFIFO|f.Stat.Mode&0o7777, 0); err != nil {
			return err
		}
		if err := chownTo(to, f); err != nil {
			return err
		}
	default:
		return nil // sockets and devices of an image are of no use in a volume
	}
	if f.Stat.Nlink > 1 {
		c.links[key] = path
	}
	return nil
}

func copyFile(f overlay.Entry, to int) error {
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	fd, err := unix.Openat(to, f.Name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	dst := os.NewFile(uintptr(fd), f.Name)
	defer dst.Close()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return copyAttributes(src, dst)
}

func chownTo(dir int, f overlay.Entry) error {
	return unix.Fchownat(dir, f.Name, int(f.Stat.Uid), int(f.Stat.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// copyAttributes copies owner, extended attributes, mode and times of an open
// file or directory. The owner comes first: a change of it clears the set-id
// bits and file capabilities.
func copyAttributes(src, dst *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &st); err != nil {
		return err
	}
	to := int(dst.Fd())
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := copyXattrs(int(src.Fd()), to); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(to), times, 0)
}
