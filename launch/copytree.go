package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits of a CopyTree.
const (
	treeDepth   = 128
	treeEntries = 4096    // bytes that one getdents64 may fill
	xattrMax    = 1 << 16 // XATTR_LIST_MAX and XATTR_SIZE_MAX
)

// Places in struct statx and struct linux_dirent64.
const (
	statxUID   = 20
	statxGID   = 24
	statxMode  = 28
	statxMtime = 112
	statxRdev  = 128 // major, minor

	direntSize = 16
	direntName = 19
)

// treeCopy is what a CopyTree works with.
type treeCopy struct {
	depth int
	// A file was copied that still has to get its attributes.
	pending  bool
	from, to uintptr

	levels [treeDepth]treeLevel
	stat   [256]byte
	times  [4]int64
	how    [3]uint64
	link   [pathMax]byte
	names  [xattrMax]byte
	value  [xattrMax]byte
	empty  [1]byte
}

// treeLevel is a directory that is being copied.
type treeLevel struct {
	from, to uintptr
	at, n    uintptr // in entries
	entries  [treeEntries]byte
}

// copyTree copies what a directory has, and its owner, mode, times and extended
// attributes, to another directory. Everything goes by descriptors, and nothing
// that is mounted below is copied. Device nodes that the process may not make
// are left out.
//
//go:nosplit
//go:norace
//go:nocheckptr
func copyTree(t *treeCopy, from, to uintptr) syscall.Errno {
	t.depth, t.pending = -1, false
	t.how[2] = unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH
	t.link = [pathMax]byte{'.'}
	if errno := t.enter(from, to, uintptr(unsafe.Pointer(&t.link))); errno != 0 {
		return errno
	}
	for {
		l := &t.levels[t.depth]
		if l.at == l.n {
			n, _, errno := syscall.RawSyscall6(unix.SYS_GETDENTS64, l.from, uintptr(unsafe.Pointer(&l.entries)), treeEntries, 0, 0, 0)
			if errno != 0 {
				return errno
			}
			l.at, l.n = 0, n
		}
		var errno syscall.Errno
		if l.n == 0 {
			errno = t.attributes(l.from, l.to)
			t.depth--
			if errno != 0 || t.depth < 0 {
				return errno
			}
			continue
		}
		name := l.at + direntName
		l.at += uintptr(*(*uint16)(unsafe.Pointer(&l.entries[l.at+direntSize])))
		if l.entries[name] == '.' && (l.entries[name+1] == 0 || l.entries[name+1] == '.' && l.entries[name+2] == 0) {
			continue
		}
		errno = t.entry(l, uintptr(unsafe.Pointer(&l.entries[name])))
		if errno == 0 && t.pending { // here, since the stack is short
			t.pending = false
			errno = t.attributes(t.from, t.to)
		}
		if errno != 0 {
			return errno
		}
	}
}

// enter goes down into a directory on both sides.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) enter(from, to, name uintptr) syscall.Errno {
	if t.depth == treeDepth-1 {
		return unix.ENAMETOOLONG
	}
	fd, errno := t.open(from, name, unix.O_DIRECTORY)
	if errno == unix.EXDEV { // something is mounted there
		return 0
	}
	if errno != 0 {
		return errno
	}
	t.depth++
	l := &t.levels[t.depth]
	l.from, l.at, l.n = fd, 0, 0
	l.to, errno = t.open(to, name, unix.O_DIRECTORY)
	return errno
}

// entry copies what a directory has under a name.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) entry(l *treeLevel, name uintptr) syscall.Errno {
	if errno := t.look(l.from, name); errno != 0 {
		if errno == unix.ENOENT { // it was removed meanwhile
			errno = 0
		}
		return errno
	}
	mode := uintptr(*(*uint16)(unsafe.Pointer(&t.stat[statxMode])))
	var errno syscall.Errno
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		_, _, errno = syscall.RawSyscall6(unix.SYS_MKDIRAT, l.to, name, 0o700, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return t.enter(l.from, l.to, name)
	case unix.S_IFREG:
		return t.file(l, name)
	case unix.S_IFLNK:
		n, _, errno := syscall.RawSyscall6(unix.SYS_READLINKAT, l.from, name, uintptr(unsafe.Pointer(&t.link)), pathMax-1, 0, 0)
		if errno != 0 {
			return errno
		}
		t.link[n] = 0
		_, _, errno = syscall.RawSyscall6(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(&t.link)), l.to, name, 0, 0, 0)
		if errno != 0 {
			return errno
		}
	default:
		_, _, errno = syscall.RawSyscall6(unix.SYS_MKNODAT, l.to, name, mode, t.device(), 0, 0)
		if errno != 0 {
			if errno == unix.EPERM { // a device, in a user namespace
				errno = 0
			}
			return errno
		}
	}
	return t.own(l.to, name, unix.AT_SYMLINK_NOFOLLOW)
}

// file copies a regular file.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) file(l *treeLevel, name uintptr) syscall.Errno {
	from, errno := t.open(l.from, name, unix.O_NONBLOCK|unix.O_NOCTTY)
	if errno == unix.EXDEV {
		return 0
	}
	if errno != 0 {
		return errno
	}
	if errno = t.look(from, uintptr(unsafe.Pointer(&t.empty))); errno != 0 {
		return errno
	}
	if *(*uint16)(unsafe.Pointer(&t.stat[statxMode]))&unix.S_IFMT != unix.S_IFREG {
		return unix.EINVAL
	}
	to, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, l.to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600, 0, 0)
	if errno != 0 {
		return errno
	}
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, to, from, 0, 1<<30, 0, 0)
		if errno != 0 {
			return errno
		}
		if n == 0 {
			t.from, t.to, t.pending = from, to, true
			return 0
		}
	}
}

// attributes copies all that a file or a directory has beside its content, and
// closes both.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) attributes(from, to uintptr) syscall.Errno {
	errno := t.look(from, uintptr(unsafe.Pointer(&t.empty)))
	if errno == 0 {
		errno = t.own(to, uintptr(unsafe.Pointer(&t.empty)), unix.AT_EMPTY_PATH)
	}
	if errno == 0 {
		_, _, errno = syscall.RawSyscall6(unix.SYS_FCHMOD, to, uintptr(*(*uint16)(unsafe.Pointer(&t.stat[statxMode])))&0o7777, 0, 0, 0, 0)
	}
	if errno == 0 {
		errno = t.xattrs(from, to)
	}
	if errno == 0 {
		t.times[1] = unix.UTIME_OMIT // the time of the last access
		t.times[2] = *(*int64)(unsafe.Pointer(&t.stat[statxMtime]))
		t.times[3] = int64(*(*uint32)(unsafe.Pointer(&t.stat[statxMtime+8])))
		_, _, errno = syscall.RawSyscall6(unix.SYS_UTIMENSAT, to, 0, uintptr(unsafe.Pointer(&t.times)), 0, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_CLOSE, from, 0, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_CLOSE, to, 0, 0, 0, 0, 0)
	return errno
}

// xattrs copies the extended attributes that the other side may have.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) xattrs(from, to uintptr) syscall.Errno {
	n, _, errno := syscall.RawSyscall6(unix.SYS_FLISTXATTR, from, uintptr(unsafe.Pointer(&t.names)), xattrMax, 0, 0, 0)
	if errno == unix.EOPNOTSUPP {
		return 0
	}
	if errno != 0 {
		return errno
	}
	for i := uintptr(0); i < n; i++ {
		name := uintptr(unsafe.Pointer(&t.names[i]))
		size, _, errno := syscall.RawSyscall6(unix.SYS_FGETXATTR, from, name, uintptr(unsafe.Pointer(&t.value)), xattrMax, 0, 0)
		if errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_FSETXATTR, to, name, uintptr(unsafe.Pointer(&t.value)), size, 0, 0)
		}
		switch errno {
		case 0, unix.EOPNOTSUPP, unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENODATA:
		default:
			return errno
		}
		for t.names[i] != 0 {
			i++
		}
	}
	return 0
}

// look fills stat. The name may be empty: then it is of the descriptor.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) look(dir, name uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_STATX, dir, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&t.stat)), 0)
	return errno
}

// own gives a file the owner that stat tells. One who doesn't exist in the
// user namespace can't own it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) own(dir, name, flags uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(unix.SYS_FCHOWNAT, dir, name, uintptr(*(*uint32)(unsafe.Pointer(&t.stat[statxUID]))), uintptr(*(*uint32)(unsafe.Pointer(&t.stat[statxGID]))), flags, 0)
	if errno == unix.EINVAL {
		errno = 0
	}
	return errno
}

// device is the number of the device that stat tells, as mknodat takes it.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) device() uintptr {
	major := uintptr(*(*uint32)(unsafe.Pointer(&t.stat[statxRdev])))
	minor := uintptr(*(*uint32)(unsafe.Pointer(&t.stat[statxRdev+4])))
	return minor&0xff | major<<8 | minor&^0xff<<12
}

// open opens what lies in a directory, and in the same mount, for reading.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (t *treeCopy) open(dir, name, flags uintptr) (uintptr, syscall.Errno) {
	t.how[0] = uint64(flags) | unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT2, dir, name, uintptr(unsafe.Pointer(&t.how)), unsafe.Sizeof(t.how), 0, 0)
	return fd, errno
}
