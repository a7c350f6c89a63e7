package monitor

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// listen binds attach.sock in runDir, replacing what a killed monitor left.
func listen(runDir string) (int, error) {
	fail := func(err error) (int, error) {
		return -1, fmt.Errorf("listen on %s/%s: %w", runDir, SocketFile, err)
	}
	dir, err := unix.Open(runDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(dir)
	if err := unix.Unlinkat(dir, SocketFile, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	// An address has room for 108 bytes, a path may have 4096.
	name := "/proc/self/fd/" + strconv.Itoa(dir) + "/" + SocketFile
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	return fd, nil
}

func accept(listener int) (int, error) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return fd, err
}
