package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// special is what only the host's root can make. A worker remembers it and the
// caller makes it afterwards.
type special struct {
	// Path is below the layer's directory, without links on the way.
	Path string `json:"path"`
	// Same is the path of another special node that this is a hard link to.
	Same string `json:"same,omitempty"`
	// Mode is that of the device node, type included; 0: the directory at Path
	// is opaque.
	Mode  uint32 `json:"mode,omitempty"`
	Dev   uint64 `json:"dev,omitempty"`
	UID   uint32 `json:"uid,omitempty"`
	GID   uint32 `json:"gid,omitempty"`
	Atime stamp  `json:"atime,omitzero"`
	Mtime stamp  `json:"mtime,omitzero"`
	// gone says that a later entry took the place.
	gone bool
}

// stamp is a time of a file.
type stamp struct {
	Sec  int64 `json:"s"`
	Nsec int64 `json:"n"`
}

// specialCost is about what one takes in a report, besides its paths, in bytes.
const specialCost = 200

// specials are kept by path in the order of the layer.
type specials struct {
	list  []special
	index map[string]int // of the list; -1: gone
	size  int
}

func (s *specials) add(one special) error {
	if i, ok := s.index[one.Path]; ok && i >= 0 {
		s.list[i] = one
		return nil
	}
	// A path may take six times its length as JSON.
	if s.size += specialCost + 6*(len(one.Path)+len(one.Same)); s.size > maxReport/2 {
		return errors.New("too many opaque directories and device nodes")
	}
	s.index[one.Path] = len(s.list)
	s.list = append(s.list, one)
	return nil
}

// drop forgets what was at path or below.
func (s *specials) drop(path string) {
	for p, i := range s.index {
		if i >= 0 && (p == path || strings.HasPrefix(p, path+"/")) {
			s.list[i].gone = true
			s.index[p] = -1
		}
	}
}

// left are those that were not dropped.
func (s *specials) left() []special {
	var left []special
	for _, one := range s.list {
		if !one.gone {
			left = append(left, one)
		}
	}
	return left
}

// place is the path of a name in an open directory, without links on the way:
// the root directory is the layer's.
func place(dir int, base string) (string, error) {
	if err := unix.Fchdir(dir); err != nil {
		return "", err
	}
	path, err := unix.Getwd()
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", fmt.Errorf("directory %s is out of reach", quote(path))
	}
	return strings.TrimPrefix(path+"/"+base, "/"), nil
}

// forget drops what was in a directory that makes way for another entry.
func (u *unpacker) forget(dir int, base string) error {
	if u.special == nil || len(u.special.list) == 0 {
		return nil
	}
	path, err := place(dir, base)
	if err == nil {
		u.special.drop(path)
	}
	return err
}

// isSpecial reports whether a name stands for a device node that was remembered.
func (u *unpacker) isSpecial(dir int, base string) (bool, error) {
	if u.special == nil || len(u.special.list) == 0 {
		return false, nil
	}
	path, err := place(dir, base)
	if err != nil {
		return false, err
	}
	i, ok := u.special.index[path]
	return ok && i >= 0 && u.special.list[i].Mode != 0, nil
}

// replaceSpecial makes way for an entry where a device node was remembered.
func (u *unpacker) replaceSpecial(above, base string) error {
	if u.special == nil || len(u.special.list) == 0 {
		return nil
	}
	dir, err := u.parent(above)
	if err != nil {
		return err
	}
	if had, err := u.isSpecial(dir, base); !had || err != nil {
		return err
	}
	return u.forget(dir, base)
}

// nodeSpecial remembers a device node. Nothing may have its name; what comes
// later under it replaces it.
func (u *unpacker) nodeSpecial(h *tar.Header, dir int, base string, s special) (err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != unix.ENOENT {
		if err == nil {
			err = unix.EEXIST
		}
		return err
	}
	if s.Path, err = place(dir, base); err != nil {
		return err
	}
	ts := times(h)
	s.Atime, s.Mtime = stamp{ts[0].Sec, ts[0].Nsec}, stamp{ts[1].Sec, ts[1].Nsec}
	u.res.Xattrs += int64(len(u.xattrs(h)))
	return u.special.add(s)
}

// linkSpecial remembers a hard link to a special node.
func (u *unpacker) linkSpecial(from int, last string, dir int, base string) (done bool, err error) {
	if had, err := u.isSpecial(from, last); !had || err != nil {
		return false, err
	}
	same, err := place(from, last)
	if err != nil {
		return false, err
	}
	one := u.special.list[u.special.index[same]]
	s := special{Same: same, Mode: one.Mode, Dev: one.Dev}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return true, unix.EEXIST
	}
	if s.Path, err = place(dir, base); err != nil || s.Path == same {
		return true, err
	}
	if one.Same != "" {
		s.Same = one.Same
	}
	return true, u.special.add(s)
}
