package layer

import (
	"archive/tar"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// entry makes what one header describes. What is in the way is removed first:
// of entries with one name the last counts.
func (u *unpacker) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if ignored(name) {
		return nil
	}
	if name == "." {
		return u.rootDir(h)
	}
	above, base := split(name)
	replaced := false // a whiteout made way
	if err := u.replaceSpecial(above, base); err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		dir, err := u.parent(above)
		if err != nil {
			return err
		}
		err = u.create(h, dir, base, name, replaced)
		if err != unix.EEXIST || attempt == 3 {
			return err
		}
		if replaced, err = u.makeWay(dir, base, name); err != nil {
			return err
		}
	}
}

// create makes an entry in an open directory; unix.EEXIST means that
// something with its name has to go first.
func (u *unpacker) create(h *tar.Header, dir int, base, name string, replaced bool) error {
	if base == opaqueMarker {
		return u.opaque(dir)
	}
	if name, err := hidden(base); err != nil {
		return err
	} else if name != "" {
		return u.whiteout(dir, name)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.file(h, dir, base)
	case tar.TypeDir:
		return u.directory(h, dir, base, name, replaced)
	case tar.TypeSymlink:
		return u.symlink(h, dir, base)
	case tar.TypeLink:
		return u.link(h, dir, base)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(h, dir, base, name)
	}
	return fmt.Errorf("unknown entry type %q", h.Typeflag)
}

// makeWay removes what has the name already, and reports whether that was a whiteout.
func (u *unpacker) makeWay(dir int, base, name string) (whiteout bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if err == unix.ENOENT {
			return false, nil
		}
		return false, fmt.Errorf("replace an earlier entry: %w", err)
	}
	if err := removeAt(dir, base); err != nil {
		return false, fmt.Errorf("replace an earlier entry: %w", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR, unix.S_IFLNK:
		if err := u.forget(dir, base); err != nil {
			return false, err
		}
		// Directories that are open may have been below it.
		delete(u.pending, name)
		u.dirs.forget()
	}
	return isWhiteout(&st), nil
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// rootDir takes the mode, owner and times of the layer's root.
func (u *unpacker) rootDir(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return errors.New("the root of a layer must be a directory")
	}
	return u.settings(h, u.dirs.root, ".", false)
}

func (u *unpacker) directory(h *tar.Header, dir int, base, name string, replaced bool) error {
	fresh := true
	mode := uint32(h.Mode)&0o777 | 0o700
	if err := retry(func() error { return unix.Mkdirat(dir, base, mode) }); err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.EEXIST
		}
		fresh = false
	} else if err != nil {
		return err
	}
	fd, err := opendir(dir, base)
	if err != nil {
		return err
	}
	u.dirs.put(name, fd)
	if replaced {
		// Nothing of a lower directory with this name may show through.
		if err := u.opaque(fd); err != nil {
			return err
		}
	}
	return u.settings(h, fd, name, fresh)
}

// settings gives an open directory its owner and a mode that lets entries in,
// and remembers the rest for the end.
func (u *unpacker) settings(h *tar.Header, fd int, name string, fresh bool) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if err := u.own(fd, uid, gid, fresh); err != nil {
		return err
	}
	final := uint32(h.Mode) & 0o7777
	now := final&0o777 | 0o700
	if !fresh || now&u.umask != 0 {
		if err := unix.Fchmod(fd, now); err != nil {
			return err
		}
	}
	p := &pending{times: times(h), mode: final, chmod: final != now}
	size := len(name) + 200
	if m := u.xattrs(h); m != nil {
		if acl, ok := m["system.posix_acl_default"]; ok {
			p.xattrs = map[string]string{"system.posix_acl_default": acl}
			delete(m, "system.posix_acl_default")
			size += len(acl) + 100
		}
		if err := u.setXattrs(fd, m); err != nil {
			return err
		}
	}
	u.pending[name] = p
	return u.remember(size)
}

func (u *unpacker) symlink(h *tar.Header, dir int, base string) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if len(h.Linkname) > maxPath {
		return errors.New("the link's target is too long")
	}
	if err := retry(func() error { return unix.Symlinkat(h.Linkname, dir, base) }); err != nil {
		return err
	}
	if err := u.ownAt(dir, base, uid, gid); err != nil {
		return err
	}
	u.xattrs(h) // counts them: a link keeps none
	return setTimes(dir, base, times(h))
}

// link makes a hard link. The target is found as every directory is and its
// last part is not followed, so a link to a link is the same link.
func (u *unpacker) link(h *tar.Header, dir int, base string) error {
	target, err := clean(h.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quote(h.Linkname), err)
	}
	if _, ok := u.skipped[target]; ok {
		u.res.Devices++
		return nil
	}
	above, last := split(target)
	from, err := u.find(above)
	if err == nil && u.special != nil && len(u.special.index) > 0 {
		if done, err := u.linkSpecial(from, last, dir, base); done || err != nil {
			return err
		}
	}
	if err == nil {
		err = retry(func() error { return unix.Linkat(from, last, dir, base, 0) })
	}
	switch err {
	case nil:
		return nil
	case unix.EEXIST:
		var a, b unix.Stat_t
		if unix.Fstatat(from, last, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
			unix.Fstatat(dir, base, &b, unix.AT_SYMLINK_NOFOLLOW) == nil && a.Ino == b.Ino && a.Dev == b.Dev {
			return nil
		}
		return err
	}
	return fmt.Errorf("hard link to %s: %w", quote(h.Linkname), err)
}

func (u *unpacker) node(h *tar.Header, dir int, base, name string) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	kind := uint32(unix.S_IFIFO)
	dev := 0
	switch h.Typeflag {
	case tar.TypeChar:
		kind = unix.S_IFCHR
	case tar.TypeBlock:
		kind = unix.S_IFBLK
	}
	if kind != unix.S_IFIFO {
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return fmt.Errorf("device %d:%d is no device number", h.Devmajor, h.Devminor)
		}
		if kind == unix.S_IFCHR && h.Devmajor == 0 && h.Devminor == 0 {
			return u.whiteout(dir, base) // overlayfs would see one in it
		}
		dev = int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	}
	mode := uint32(h.Mode) & 0o7777
	if kind != unix.S_IFIFO && u.special != nil {
		return u.nodeSpecial(h, dir, base, special{Mode: kind | mode, Dev: uint64(dev), UID: uint32(uid), GID: uint32(gid)})
	}
	err = retry(func() error { return unix.Mknodat(dir, base, kind|mode&0o777, dev) })
	if err == unix.EPERM && kind != unix.S_IFIFO {
		if u.res.Devices == 0 {
			u.res.FirstDevice = name
		}
		u.res.Devices++
		u.skipped[name] = struct{}{}
		return u.remember(len(name) + 100)
	}
	if err != nil {
		return err
	}
	if err := u.ownAt(dir, base, uid, gid); err != nil {
		return err
	}
	if mode&^0o777 != 0 || mode&u.umask != 0 {
		if err := u.chmodat(dir, base, mode); err != nil {
			return err
		}
	}
	u.res.Xattrs += int64(len(u.xattrs(h)))
	return setTimes(dir, base, times(h))
}

// whiteout hides what lower layers have under a name. What this very layer has
// there stays: a whiteout speaks only of lower layers.
func (u *unpacker) whiteout(dir int, base string) error {
	if had, err := u.isSpecial(dir, base); had || err != nil {
		return err
	}
	err := retry(func() error { return unix.Mknodat(dir, base, unix.S_IFCHR, 0) })
	if err != unix.EEXIST {
		return err
	}
	fd, err := opendir(dir, base)
	switch err {
	case nil:
		defer unix.Close(fd)
		return u.opaque(fd)
	case unix.ENOTDIR, unix.ELOOP:
		return nil
	}
	return err
}
