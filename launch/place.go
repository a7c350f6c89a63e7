package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits of a Place.
const (
	pathMax  = 4096 // PATH_MAX, with the NUL
	nameMax  = 256  // NAME_MAX and a NUL
	maxLinks = 40   // as in the kernel
	// maxTries bounds how often an openat2 is repeated that the kernel gave up
	// because something was renamed meanwhile.
	maxTries = 100
)

// aPlace is one Place of a program.
type aPlace struct {
	*placing
	path []byte // ends with a NUL
}

// placing is what a Place works with. The Places of a program share it.
type placing struct {
	root, fd    uintptr
	kind, mode  uintptr
	resolve     uint64
	rest        [2 * pathMax]byte // what is still to be resolved, from at on
	done        [pathMax]byte     // what was resolved, without links
	link        [pathMax]byte
	name        [nameMax]byte
	at, length  int // in rest; of done
	size, links int // of name; followed so far
	how         [3]uint64
	stat        [256]byte
	dot         [2]byte // "." and a NUL
}

// place opens the place at a path below a root and makes what is missing of
// it: directories, and at its end a directory or an empty file. Symbolic links
// are followed below the root even where what they name is missing, and not at
// all when the place is strict.
//
//go:nosplit
//go:norace
//go:nocheckptr
func place(w *walker, a *aPlace) (uintptr, syscall.Errno) {
	p, strict := a.placing, w.args[3] != 0
	p.root, p.kind, p.mode = w.args[0], w.args[2]&unix.S_IFMT, w.args[2]&^unix.S_IFMT
	p.dot = [2]byte{'.', 0}
	p.resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	if strict {
		p.resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	last := uintptr(0)
	if p.kind == unix.S_IFDIR {
		last = unix.O_DIRECTORY
	}
	r, errno := p.open(p.root, uintptr(unsafe.Pointer(&a.path[0])), last, p.resolve)
	if errno != unix.ENOENT {
		return r, errno
	}
	copy(p.rest[:], a.path)
	p.at, p.links = 0, 0
	p.done, p.length, p.fd = [pathMax]byte{'.'}, 1, p.root
	for {
		if errno := p.next(); errno != 0 {
			return 0, errno
		}
		switch {
		case p.size == 0 && (p.fd == p.root || p.kind == unix.S_IFDIR):
			return p.open(p.fd, uintptr(unsafe.Pointer(&p.dot)), last, p.resolve)
		case p.size == 0:
			return p.fd, 0
		case p.size == 1 && p.name[0] == '.':
			continue
		case p.size == 2 && p.name[0] == '.' && p.name[1] == '.':
			errno = p.up()
		default:
			errno = p.down(strict)
		}
		if errno != 0 {
			return 0, errno
		}
	}
}

// next takes the next name from the rest; at its end the name is empty.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) next() syscall.Errno {
	for p.rest[p.at] == '/' {
		p.at++
	}
	for p.size = 0; p.rest[p.at] != 0 && p.rest[p.at] != '/'; p.at++ {
		if p.size == nameMax-1 {
			return unix.ENAMETOOLONG
		}
		p.name[p.size] = p.rest[p.at]
		p.size++
	}
	p.name[p.size] = 0
	return 0
}

// up goes to the parent. It is found from the root again, by a path without
// links: the directory itself may have been moved out of the root.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) up() syscall.Errno {
	for p.length > 1 && p.done[p.length] != '/' {
		p.length--
	}
	p.done[p.length] = 0
	fd, errno := p.open(p.root, uintptr(unsafe.Pointer(&p.done)), unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
	if errno == 0 {
		p.leave(fd)
	}
	return errno
}

// down goes to the name, which it makes if there is none, or puts what a link
// says before the rest.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) down(strict bool) syscall.Errno {
	name := uintptr(unsafe.Pointer(&p.name))
	fd, errno := p.open(p.fd, name, unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
	if errno == unix.ENOENT {
		if errno = p.create(name); errno != 0 {
			return errno
		}
		fd, errno = p.open(p.fd, name, unix.O_NOFOLLOW, unix.RESOLVE_BENEATH)
	}
	if errno != 0 {
		return errno
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_STATX, fd, uintptr(unsafe.Pointer(&p.dot[1])), unix.AT_EMPTY_PATH, unix.STATX_TYPE, uintptr(unsafe.Pointer(&p.stat)), 0)
	if errno != 0 {
		return errno
	}
	if *(*uint16)(unsafe.Pointer(&p.stat[statxMode]))&unix.S_IFMT == unix.S_IFLNK {
		if strict {
			return unix.ELOOP
		}
		return p.follow(fd)
	}
	if p.length+1+p.size >= pathMax {
		return unix.ENAMETOOLONG
	}
	p.done[p.length] = '/'
	copy(p.done[p.length+1:], p.name[:p.size+1])
	p.length += 1 + p.size
	p.leave(fd)
	return 0
}

// follow puts the text of a link before the rest.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) follow(fd uintptr) syscall.Errno {
	n, _, errno := syscall.RawSyscall6(unix.SYS_READLINKAT, fd, uintptr(unsafe.Pointer(&p.dot[1])), uintptr(unsafe.Pointer(&p.link)), pathMax-1, 0, 0)
	syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if p.links++; p.links > maxLinks {
		return unix.ELOOP
	}
	left := p.at
	for p.rest[left] != 0 {
		left++
	}
	if int(n)+1+left-p.at >= len(p.rest) {
		return unix.ENAMETOOLONG
	}
	copy(p.rest[n+1:], p.rest[p.at:left+1])
	copy(p.rest[:n], p.link[:n])
	p.rest[n], p.at = '/', 0
	if p.rest[0] == '/' {
		p.leave(p.root)
		p.done[1], p.length = 0, 1
	}
	return 0
}

// create makes the name: the last one is what is wanted, all others are
// directories.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) create(name uintptr) syscall.Errno {
	more := p.at
	for p.rest[more] == '/' {
		more++
	}
	var errno syscall.Errno
	switch {
	case p.rest[more] != 0:
		_, _, errno = syscall.RawSyscall6(unix.SYS_MKDIRAT, p.fd, name, 0o755, 0, 0, 0)
	case p.kind == unix.S_IFDIR:
		_, _, errno = syscall.RawSyscall6(unix.SYS_MKDIRAT, p.fd, name, p.mode, 0, 0, 0)
	default:
		_, _, errno = syscall.RawSyscall6(unix.SYS_MKNODAT, p.fd, name, p.kind|p.mode, 0, 0, 0)
	}
	if errno == unix.EEXIST {
		return 0
	}
	return errno
}

// leave goes on from another directory.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) leave(to uintptr) {
	if p.fd != p.root {
		syscall.RawSyscall6(unix.SYS_CLOSE, p.fd, 0, 0, 0, 0, 0)
	}
	p.fd = to
}

// open calls openat2 for a descriptor of the kind O_PATH.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *placing) open(dir, path, flags uintptr, resolve uint64) (uintptr, syscall.Errno) {
	p.how = [3]uint64{uint64(flags) | unix.O_PATH | unix.O_CLOEXEC, 0, resolve}
	for tries := 1; ; tries++ {
		fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT2, dir, path, uintptr(unsafe.Pointer(&p.how)), unsafe.Sizeof(p.how), 0, 0)
		if errno != unix.EAGAIN && errno != unix.EINTR || tries == maxTries {
			return fd, errno
		}
	}
}
