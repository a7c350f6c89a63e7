package monitor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// attachBound is how long a container waits for its first client before it is
// not started at all.
const attachBound = 10 * time.Second

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

// waitClient accepts the first client. It gives up when nobody reads the
// report any more: the command that wanted to attach is dead.
func waitClient(listener, report int) (int, error) {
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}, {Fd: int32(report)}}
	for end := time.Now().Add(attachBound); time.Now().Before(end); {
		_, err := unix.Poll(fds, int(time.Until(end)/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return -1, fmt.Errorf("wait for the first client: %w", err)
		}
		if fds[1].Revents&unix.POLLERR != 0 {
			return -1, fmt.Errorf("the command that started the container is gone")
		}
		if fd, err := accept(listener); err == nil {
			return fd, nil
		}
	}
	return -1, fmt.Errorf("no client attached within %v", attachBound)
}

func accept(listener int) (int, error) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return fd, err
}
