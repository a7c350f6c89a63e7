package crash

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk follows what of a directory a power cut would leave. It holds the most pessimistic disk that POSIX allows: a
// file's content is there when it was synced, a name is there when its directory was synced.
type disk struct {
	root    string
	dev     uint64
	files   map[uint64]node              // by inode: what was synced last
	names   map[uint64]map[string]uint64 // directories' entries as synced last
	types   map[uint64]uint32            // what kind of file a synced name is; that much is made with the name
	dirty   map[uint64]bool              // changed since
	pending func()                       // the effect of a sync that the kernel is carrying out
}

// node is an inode's own content, without a directory's entries.
type node struct {
	mode     uint32
	uid, gid int
	rdev     uint64
	changed  unix.Timespec
	data     []byte // of a file; a link's target
	xattrs   map[string]string
}

// newDisk begins with all that is below root on the disk.
func newDisk(root string) (*disk, error) {
	d := &disk{root: root, files: map[uint64]node{}, names: map[uint64]map[string]uint64{}, types: map[uint64]uint32{}, dirty: map[uint64]bool{}}
	var st unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		return nil, err
	}
	d.dev = st.Dev
	d.syncAll()
	return d, nil
}

// before follows a call that the kernel is about to carry out. What was carried out before is complete by now, at least
// for the thread that calls.
func (d *disk) before(c call) {
	if d.pending != nil {
		d.pending()
		d.pending = nil
	}
	switch c.nr {
	case unix.SYS_SYNCFS, unix.SYS_SYNC:
		d.pending = d.syncAll
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		path := c.fd(0)
		ino := opened(path)
		var entries map[string]uint64
		n, err := readNode(path, true)
		if err != nil {
			return
		}
		if n.mode&unix.S_IFMT == unix.S_IFDIR {
			entries = d.list(path)
		}
		d.pending = func() {
			d.files[ino] = n
			delete(d.dirty, ino)
			if entries != nil {
				d.names[ino] = entries
			}
		}
	case unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_CREAT, unix.SYS_TRUNCATE:
		w := targets[c.nr]
		if path, err := c.path(w.dir, w.path); err == nil {
			if c.nr == unix.SYS_OPENAT && c.args[2]&unix.O_TRUNC == 0 {
				return
			}
			d.dirty[inode(path)] = true
		}
	default:
		if w := targets[c.nr]; w.fd >= 0 {
			d.dirty[opened(c.fd(w.fd))] = true
		}
	}
}

func (d *disk) syncAll() {
	filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed under way
		}
		n, err := readNode(path, false)
		if err != nil {
			return nil
		}
		ino := inode(path)
		d.files[ino] = n
		delete(d.dirty, ino)
		if e.IsDir() {
			d.names[ino] = d.list(path)
		}
		return nil
	})
}

// pessimist makes in dst what is left when nothing survives but what was synced.
func (d *disk) pessimist(dst string) error {
	return d.restore(inode(d.root), dst, map[uint64]string{})
}

func (d *disk) restore(ino uint64, dst string, made map[uint64]string) error {
	n, synced := d.files[ino]
	if !synced {
		// Its name is there and its content never came.
		n = node{mode: d.types[ino] | 0o600}
		if d.types[ino] == unix.S_IFDIR {
			n.mode |= 0o700
		}
	}
	if first, again := made[ino]; again {
		return os.Link(first, dst)
	}
	if err := n.write(dst); err != nil {
		return err
	}
	if n.mode&unix.S_IFMT != unix.S_IFDIR {
		made[ino] = dst
		return nil
	}
	for name, child := range d.names[ino] {
		if err := d.restore(child, filepath.Join(dst, name), made); err != nil {
			return err
		}
	}
	return n.setTime(dst)
}

// optimist makes in dst what is left when the file system kept all names, and emptied the files whose content it had not
// written yet, as journals of metadata do.
func (d *disk) optimist(dst string) error {
	made := map[uint64]string{}
	dirs := map[string]node{}
	defer func() {
		for path, n := range dirs {
			_ = n.setTime(path)
		}
	}()
	return filepath.WalkDir(d.root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(d.root, path)
		ino := inode(path)
		if first, again := made[ino]; again {
			return os.Link(first, filepath.Join(dst, rel))
		}
		n, err := readNode(path, false)
		if err != nil {
			return nil
		}
		if _, synced := d.files[ino]; n.mode&unix.S_IFMT == unix.S_IFREG && (!synced || d.dirty[ino]) {
			n.data = nil
		}
		if n.mode&unix.S_IFMT == unix.S_IFREG {
			made[ino] = filepath.Join(dst, rel)
		} else if n.mode&unix.S_IFMT == unix.S_IFDIR {
			dirs[filepath.Join(dst, rel)] = n
		}
		return n.write(filepath.Join(dst, rel))
	})
}

// inode is that of what path names itself; 0 without it.
func inode(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// opened is the inode behind a descriptor's link in /proc.
func opened(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

func (d *disk) list(dir string) map[string]uint64 {
	names := map[string]uint64{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, e.Name()), &st) == nil {
			names[e.Name()], d.types[st.Ino] = st.Ino, st.Mode&unix.S_IFMT
		}
	}
	return names
}

// readNode reads what path is; a descriptor's link in /proc is followed.
func readNode(path string, follow bool) (n node, err error) {
	var st unix.Stat_t
	if follow {
		err = unix.Stat(path, &st)
	} else {
		err = unix.Lstat(path, &st)
	}
	if err != nil {
		return n, err
	}
	n = node{mode: st.Mode, uid: int(st.Uid), gid: int(st.Gid), rdev: st.Rdev, changed: st.Mtim, xattrs: map[string]string{}}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if n.data, err = os.ReadFile(path); err != nil {
			return n, err
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return n, err
		}
		n.data = []byte(target)
		return n, nil
	}
	var names [4096]byte
	size, _ := unix.Listxattr(path, names[:])
	for _, name := range splitNames(names[:max(size, 0)]) {
		var value [4096]byte
		if l, err := unix.Getxattr(path, name, value[:]); err == nil {
			n.xattrs[name] = string(value[:l])
		}
	}
	return n, nil
}

func splitNames(b []byte) (names []string) {
	for start, i := 0, 0; i < len(b); i++ {
		if b[i] == 0 {
			names, start = append(names, string(b[start:i])), i+1
		}
	}
	return names
}

func (n node) write(dst string) (err error) {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = os.WriteFile(dst, n.data, 0o600)
	case unix.S_IFLNK:
		if err := os.Symlink(string(n.data), dst); err != nil {
			return err
		}
		if err := os.Lchown(dst, n.uid, n.gid); err != nil {
			return err
		}
		return n.setTime(dst)
	case unix.S_IFDIR:
		if err = os.Mkdir(dst, 0o700); os.IsExist(err) {
			err = nil
		}
	default:
		err = unix.Mknod(dst, n.mode, int(n.rdev))
	}
	if err != nil {
		return err
	}
	if err := os.Chown(dst, n.uid, n.gid); err != nil {
		return err
	}
	for name, value := range n.xattrs {
		if err := unix.Setxattr(dst, name, []byte(value), 0); err != nil {
			return err
		}
	}
	if err := unix.Chmod(dst, n.mode&0o7777); err != nil {
		return err
	}
	return n.setTime(dst)
}

// setTime is for the end: what is put into a directory changes its time.
func (n node) setTime(dst string) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, dst, []unix.Timespec{n.changed, n.changed}, unix.AT_SYMLINK_NOFOLLOW)
}
