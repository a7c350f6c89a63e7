package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"

	"loper.run/internal/confine"

	"golang.org/x/sys/unix"
)

const (
	maxTime   = 30 * time.Second // of the clock
	maxCPU    = 20               // seconds of all threads together
	maxMemory = 512 << 20        // bytes
)

// confineSelf gives up every right that the parsers do without, for good and on all threads: from here on the process
// can compute, write to what is open already, and end. It opens nothing, starts nothing, and reaches no network.
func confineSelf() error {
	time.AfterFunc(maxTime, func() {
		fmt.Fprintf(os.Stderr, "loper-verify: not done within %s\n", maxTime)
		os.Exit(1)
	})
	debug.SetMemoryLimit(maxMemory / 2)
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 4 * maxRequest, unix.RLIMIT_MEMLOCK: 0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("resource limit %d: %w", resource, err)
		}
	}
	if err := onThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if err := leaveFiles(); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	if err := filterCalls(); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return nil
}

// leaveFiles gives up every file and port, by Landlock. On a kernel without it the filter of system calls does so alone.
func leaveFiles() error {
	version := confine.Landlock()
	if version == 0 {
		return nil
	}
	attr := confine.Ruleset(version)
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

// filterCalls leaves all threads the system calls of Go's runtime alone.
func filterCalls() error {
	filter := confine.Compute(unix.Getpid())
	if filter == nil {
		return fmt.Errorf("no filter for %s", runtime.GOARCH)
	}
	program := unix.SockFprog{Len: uint16(len(filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
