package confine

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Self gives up, for good and on all threads of this process: new privileges,
// every file and, unless network is set, every port (by Landlock, where the
// kernel has it), and the system calls that the filter does not let through.
// The program has to be built without cgo.
func Self(filter []byte, network bool) error {
	if filter == nil {
		return errors.New("seccomp: no filter for this architecture")
	}
	if err := onThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := leaveFiles(network); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// Keep gives up all capabilities but those of the mask, on all threads.
func Keep(capabilities uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		half := uint32(capabilities >> (32 * i))
		data[i] = unix.CapUserData{Effective: half, Permitted: half}
	}
	return onThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])))
}

// leaveFiles gives up every file and port. On a kernel without Landlock the
// filter of system calls does so alone.
func leaveFiles(network bool) error {
	version := Landlock()
	if version == 0 {
		return nil
	}
	if network {
		version = min(version, 3) // the last that knows only files
	}
	attr := Ruleset(version)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(fd))
	return onThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0)
}

// onThreads makes a system call on every thread.
func onThreads(call, a, b uintptr) error {
	switch _, _, errno := syscall.AllThreadsSyscall(call, a, b, 0); errno {
	case 0:
		return nil
	case unix.ENOTSUP: // C's threads are not known to Go, nor made by calls that the filter lets through
		return errors.New("this program has to be built with CGO_ENABLED=0")
	default:
		return errno
	}
}
