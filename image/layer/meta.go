package layer

import (
	"archive/tar"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const xattrRecord = "SCHILY.xattr."

// own gives an open file its owner; a fresh one may have it already.
func (u *unpacker) own(fd, uid, gid int, fresh bool) error {
	if u.o.SingleID {
		return nil
	}
	if fresh && !u.ownKnown {
		// Some mounts give new files the group of their directory, so look
		// once instead of believing in our own ids.
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		u.ownUID, u.ownGID, u.ownKnown = int(st.Uid), int(st.Gid), true
	}
	if fresh && uid == u.ownUID && gid == u.ownGID {
		return nil
	}
	return ownError(retry(func() error { return unix.Fchown(fd, uid, gid) }), uid, gid)
}

// ownAt is own for what is fresh and cannot be opened.
func (u *unpacker) ownAt(dir int, base string, uid, gid int) error {
	if u.o.SingleID || u.ownKnown && uid == u.ownUID && gid == u.ownGID {
		return nil
	}
	return ownError(retry(func() error {
		return unix.Fchownat(dir, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	}), uid, gid)
}

func ownError(err error, uid, gid int) error {
	switch err {
	case nil:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("owner %d:%d is outside the user namespace; /etc/subuid and /etc/subgid give too few ids: %w", uid, gid, err)
	}
	return fmt.Errorf("owner %d:%d: %w", uid, gid, err)
}

// owner reads the ids of an entry. The header type holds an int, which a
// 64-bit id may have overflowed; (uid_t)-1 means 'unchanged' to chown.
func owner(h *tar.Header) (uid, gid int, err error) {
	const most = 1<<32 - 2
	if h.Uid < 0 || int64(h.Uid) > most || h.Gid < 0 || int64(h.Gid) > most {
		return 0, 0, fmt.Errorf("owner %d:%d is no id", h.Uid, h.Gid)
	}
	return h.Uid, h.Gid, nil
}

func times(h *tar.Header) [2]unix.Timespec {
	m := unix.Timespec{Sec: h.ModTime.Unix(), Nsec: int64(h.ModTime.Nanosecond())}
	if h.AccessTime.IsZero() {
		return [2]unix.Timespec{m, m}
	}
	return [2]unix.Timespec{{Sec: h.AccessTime.Unix(), Nsec: int64(h.AccessTime.Nanosecond())}, m}
}

func setTimes(dir int, base string, ts [2]unix.Timespec) error {
	err := retry(func() error { return unix.UtimesNanoAt(dir, base, ts[:], unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// allowed says which attributes an image may bring. Overlay's own would let it
// graft other directories into the tree, and labels and integrity hashes
// belong to the host.
func allowed(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.") && !strings.HasPrefix(name, "user.fuseoverlayfs.")
}

// xattrs returns the attributes of an entry that may be set, nil for none.
func (u *unpacker) xattrs(h *tar.Header) map[string]string {
	var m map[string]string
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if !allowed(name) || len(name) > maxName || h.Typeflag == tar.TypeSymlink {
			u.res.Xattrs++
			continue
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[name] = value
	}
	return m
}

// setXattrs sets attributes of an open file. What the file system or the
// caller's rights do not allow is counted and left out, as other engines do.
func (u *unpacker) setXattrs(fd int, m map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		err := retry(func() error { return unix.Fsetxattr(fd, name, []byte(m[name]), 0) })
		switch err {
		case nil:
		case unix.ENOTSUP, unix.EPERM, unix.EINVAL:
			u.res.Xattrs++
		default:
			return fmt.Errorf("set attribute %s: %w", quote(name), err)
		}
	}
	return nil
}

// opaque hides what lower layers have in an open directory.
func (u *unpacker) opaque(fd int) error {
	switch {
	case u.o.UserXattr:
		return setOpaque(fd, opaqueUser)
	case u.special == nil:
		return setOpaque(fd, opaqueTrusted)
	}
	path, err := place(fd, "")
	if err != nil {
		return err
	}
	return u.special.add(special{Path: strings.TrimSuffix(path, "/")})
}

// pending is what a directory gets when nothing more is put into it.
type pending struct {
	times [2]unix.Timespec
	// mode is set, when chmod is, only now: it may lock the caller out or
	// pass its group on to new files.
	mode  uint32
	chmod bool
	// xattrs holds default ACLs, which new files would inherit.
	xattrs map[string]string
}

// finish sets the pending times and modes, children before parents.
func (u *unpacker) finish() error {
	paths := slices.Sorted(maps.Keys(u.pending))
	slices.Reverse(paths)
	for _, path := range paths {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if err := u.settle(path, u.pending[path]); err != nil {
			switch err {
			case unix.ENOENT, unix.ENOTDIR, unix.ELOOP: // replaced by a later entry
				continue
			}
			return fmt.Errorf("directory %s: %w", quote(path), err)
		}
	}
	return nil
}

func (u *unpacker) settle(path string, p *pending) error {
	above, base := split(path)
	dir, err := u.find(above)
	if err != nil {
		return err
	}
	if p.chmod || len(p.xattrs) > 0 {
		fd, err := opendir(dir, base)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if p.chmod {
			if err := unix.Fchmod(fd, p.mode); err != nil {
				return err
			}
		}
		if err := u.setXattrs(fd, p.xattrs); err != nil {
			return err
		}
	}
	return setTimes(dir, base, p.times)
}
