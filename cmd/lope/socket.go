package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// socketAt calls with the address of a unix socket. The address goes through a
// descriptor of the directory, as it has room for 107 bytes only.
func socketAt(path string, call func(*unix.SockaddrUnix) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return call(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + filepath.Base(path)})
}

// dialSocket connects to a socket that the caller named for something.
func dialSocket(what, path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := socketAt(path, func(a *unix.SockaddrUnix) error { return unix.Connect(fd, a) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("connect to the %s socket %s: %w", what, path, err)
	}
	return f, nil
}
