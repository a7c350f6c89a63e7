package confine

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
)

// Least is the first version of Landlock that lets files be linked and moved
// from one directory to another, which layers need (Linux 5.19).
const Least = 2

// Landlock returns the version of Landlock that the kernel has, 0 for none.
func Landlock() int { return landlock() }

var landlock = sync.OnceValue(func() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
})

const (
	netAll   = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	scopeAll = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	// inDir is what the process may do below Dir: all but execute, make
	// sockets and block devices, and control devices. Whiteouts are character
	// devices.
	inDir = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// handled is every kind of access to files that a version knows.
func handled(version int) uint64 {
	switch {
	case version >= 5:
		return 1<<16 - 1 // and ioctl on devices
	case version >= 3:
		return 1<<15 - 1 // and truncation
	default:
		return 1<<14 - 1
	}
}

// Ruleset is struct landlock_ruleset_attr for a version: everything is refused
// that no rule allows.
func Ruleset(version int) []byte {
	b := binary.NativeEndian.AppendUint64(nil, handled(version))
	if version >= 4 {
		b = binary.NativeEndian.AppendUint64(b, netAll)
	}
	if version >= 6 {
		b = binary.NativeEndian.AppendUint64(b, scopeAll)
	}
	return b
}

// DirRule is struct landlock_path_beneath_attr for Dir.
func DirRule(version int) []byte { return rule(inDir&handled(version), Dir) }

// ProgramRule is the same for Program, which may be executed.
func ProgramRule() []byte {
	return rule(unix.LANDLOCK_ACCESS_FS_EXECUTE|unix.LANDLOCK_ACCESS_FS_READ_FILE, Program)
}

func rule(access uint64, fd uint32) []byte {
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint64(nil, access), fd)
}
