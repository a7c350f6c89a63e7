package crash

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// where tells which arguments name what a call changes: a descriptor, or a path below a directory's descriptor (-1: the
// working directory).
type where struct {
	fd, dir, path int
}

func byFD(fd int) where         { return where{fd, -1, -1} }
func byPath(path int) where     { return where{-1, -1, path} }
func below(dir, path int) where { return where{-1, dir, path} }

var targets = map[int]where{
	unix.SYS_WRITE: byFD(0), unix.SYS_PWRITE64: byFD(0), unix.SYS_WRITEV: byFD(0), unix.SYS_PWRITEV: byFD(0), unix.SYS_PWRITEV2: byFD(0),
	unix.SYS_COPY_FILE_RANGE: byFD(2), unix.SYS_SENDFILE: byFD(0), unix.SYS_SPLICE: byFD(2),
	unix.SYS_TRUNCATE: byPath(0), unix.SYS_FTRUNCATE: byFD(0), unix.SYS_FALLOCATE: byFD(0),
	unix.SYS_CREAT: byPath(0), unix.SYS_OPENAT: below(0, 1), unix.SYS_OPENAT2: below(0, 1),
	unix.SYS_RENAME: byPath(1), unix.SYS_RENAMEAT: below(2, 3), unix.SYS_RENAMEAT2: below(2, 3),
	unix.SYS_LINK: byPath(1), unix.SYS_LINKAT: below(2, 3), unix.SYS_SYMLINK: byPath(1), unix.SYS_SYMLINKAT: below(1, 2),
	unix.SYS_UNLINK: byPath(0), unix.SYS_UNLINKAT: below(0, 1), unix.SYS_MKDIR: byPath(0), unix.SYS_MKDIRAT: below(0, 1),
	unix.SYS_RMDIR: byPath(0), unix.SYS_MKNOD: byPath(0), unix.SYS_MKNODAT: below(0, 1),
	unix.SYS_CHMOD: byPath(0), unix.SYS_FCHMOD: byFD(0), unix.SYS_FCHMODAT: below(0, 1), unix.SYS_FCHMODAT2: below(0, 1),
	unix.SYS_CHOWN: byPath(0), unix.SYS_LCHOWN: byPath(0), unix.SYS_FCHOWN: byFD(0), unix.SYS_FCHOWNAT: below(0, 1),
	unix.SYS_UTIMENSAT: below(0, 1), unix.SYS_SETXATTR: byPath(0), unix.SYS_LSETXATTR: byPath(0), unix.SYS_FSETXATTR: byFD(0),
	unix.SYS_REMOVEXATTR: byPath(0), unix.SYS_LREMOVEXATTR: byPath(0), unix.SYS_FREMOVEXATTR: byFD(0),
	unix.SYS_FSYNC: byFD(0), unix.SYS_FDATASYNC: byFD(0), unix.SYS_SYNC_FILE_RANGE: byFD(0), unix.SYS_SYNCFS: byFD(0),
	unix.SYS_IOCTL: byFD(0),
}

// device tells on which file system a call has its effect, and false when that can't be told or it has none.
func (c call) device() (uint64, bool) {
	w, known := targets[c.nr]
	if !known || c.nr == unix.SYS_OPENAT2 && !c.creates() {
		return 0, false
	}
	var path string
	switch {
	case w.fd >= 0:
		path = c.fd(w.fd)
	case c.args[w.path] == 0: // utimensat of the descriptor itself
		path = c.fd(w.dir)
	default:
		var err error
		if path, err = c.path(w.dir, w.path); err != nil {
			return 0, false
		}
	}
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil {
		return st.Dev, true
	}
	// What is to be made lies where its directory does.
	if err := unix.Stat(parent(path), &st); err != nil {
		return 0, false
	}
	return st.Dev, true
}

func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return "/"
}

// creates reads struct open_how of an openat2.
func (c call) creates() bool {
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.thread))
	if err != nil {
		return false
	}
	defer mem.Close()
	var flags [8]byte
	_, err = mem.ReadAt(flags[:], int64(c.args[2]))
	return err == nil && binary.NativeEndian.Uint64(flags[:])&(unix.O_CREAT|unix.O_TRUNC) != 0
}
