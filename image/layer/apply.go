package layer

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// apply makes what a worker reported below dir. The report is foreign: a path
// is followed below dir only, through no link and into no other mount, and what
// is made is what any layer may have.
func apply(dir *os.File, list []special) error {
	for _, s := range list {
		if err := s.apply(int(dir.Fd())); err != nil {
			return fmt.Errorf("%s: %w", quote(s.Path), err)
		}
	}
	return nil
}

// check refuses what no layer could mean.
func (s *special) check() error {
	paths := []string{s.Path}
	if s.Same != "" {
		paths = append(paths, s.Same)
	}
	for _, path := range paths {
		name, err := clean(path)
		if s.Path == "" && s.Mode == 0 && s.Same == "" {
			continue // the layer's root
		}
		if err != nil || name != path || path == "." {
			return fmt.Errorf("%w: path %s", errNonsense, quote(path))
		}
	}
	kind := s.Mode & unix.S_IFMT
	switch {
	case s.Mode == 0 && s.Same == "" && s.Dev == 0 && s.UID == 0 && s.GID == 0:
		return nil
	case kind != unix.S_IFCHR && kind != unix.S_IFBLK, s.Mode&^(unix.S_IFMT|0o7777) != 0, s.Dev > math.MaxUint32,
		unix.Major(s.Dev) >= 1<<12, unix.Minor(s.Dev) >= 1<<20, s.UID == math.MaxUint32, s.GID == math.MaxUint32,
		kind == unix.S_IFCHR && s.Dev == 0, // a whiteout
		s.Atime.Nsec < 0 || s.Atime.Nsec >= 1e9 || s.Mtime.Nsec < 0 || s.Mtime.Nsec >= 1e9:
		return fmt.Errorf("%w: %s is no device", errNonsense, quote(s.Path))
	}
	return nil
}

func (s *special) apply(root int) error {
	if s.Mode == 0 {
		fd, err := openInside(root, s.Path, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return setOpaque(fd, opaqueTrusted)
	}
	above, base := split(s.Path)
	dir, err := openInside(root, above, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var before unix.Stat_t
	if err := unix.Fstat(dir, &before); err != nil {
		return err
	}
	if err := s.node(root, dir, base); err != nil {
		return err
	}
	return futimens(dir, &[2]unix.Timespec{before.Atim, before.Mtim})
}

// node makes a device node, or another name for one.
func (s *special) node(root, dir int, base string) error {
	if s.Same != "" {
		above, last := split(s.Same)
		from, err := openInside(root, above, unix.O_PATH)
		if err != nil {
			return err
		}
		defer unix.Close(from)
		var st unix.Stat_t
		if err := unix.Fstatat(from, last, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFCHR && kind != unix.S_IFBLK {
			return fmt.Errorf("%w: %s is no device", errNonsense, quote(s.Same))
		}
		return retry(func() error { return unix.Linkat(from, last, dir, base, 0) })
	}
	// The name is new, and nobody else writes here: it is what was just made.
	if err := retry(func() error { return unix.Mknodat(dir, base, s.Mode&(unix.S_IFMT|0o700), int(s.Dev)) }); err != nil {
		return err
	}
	if err := unix.Fchownat(dir, base, int(s.UID), int(s.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if err := chmodat(dir, base, s.Mode&0o7777); err != nil {
		return err
	}
	return setTimes(dir, base, [2]unix.Timespec{{Sec: s.Atime.Sec, Nsec: s.Atime.Nsec}, {Sec: s.Mtime.Sec, Nsec: s.Mtime.Nsec}})
}

// openInside opens a directory by a path without links.
func openInside(root int, path string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if path == "" {
		path = "."
	}
	for range 128 {
		fd, err := unix.Openat2(root, path, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN:
			continue
		}
		return fd, err
	}
	return -1, unix.EAGAIN
}

const (
	opaqueTrusted = "trusted.overlay.opaque"
	opaqueUser    = "user.overlay.opaque"
)

// setOpaque marks an open directory.
func setOpaque(fd int, name string) error {
	if err := retry(func() error { return unix.Fsetxattr(fd, name, []byte("y"), 0) }); err != nil {
		return fmt.Errorf("mark a directory opaque (%s): %w", name, err)
	}
	return nil
}
