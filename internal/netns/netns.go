// Package netns makes sockets inside of network namespaces that the caller is
// not in: a socket stays in the namespace in which it was made, whoever has it.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
)

// Want is what shall be opened inside: a socket, or a setting.
type Want struct {
	Domain, Type, Protocol int // as of socket(2)
	// Setting is a file below /proc/sys/net, opened for reading and writing in
	// place of a socket.
	Setting string
}

// Netlink is a netlink socket of a family like NETLINK_ROUTE.
func Netlink(family int) Want {
	return Want{Domain: unix.AF_NETLINK, Type: unix.SOCK_RAW, Protocol: family}
}

// Open opens each of the wants in a network namespace; nil is the caller's own.
// The descriptors are close-on-exec and the caller's to close. A setting that
// the kernel does not have there is -1.
func Open(namespace *os.File, wants ...Want) ([]int, error) {
	if namespace == nil {
		return open(wants)
	}
	if !userns.Privileged() {
		return openAside(namespace, wants)
	}
	type result struct {
		fds []int
		err error
	}
	done := make(chan result)
	go func() {
		// A thread that doesn't find its way back ends with the goroutine.
		runtime.LockOSThread()
		fds, back, err := openIn(namespace, wants)
		if back {
			runtime.UnlockOSThread()
		}
		done <- result{fds, err}
	}()
	r := <-done
	return r.fds, r.err
}

func openIn(namespace *os.File, wants []Want) (fds []int, back bool, err error) {
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, true, &os.PathError{Op: "open", Path: "/proc/thread-self/ns/net", Err: err}
	}
	defer unix.Close(own)
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, true, fmt.Errorf("join the network namespace %s: %w", namespace.Name(), err)
	}
	fds, err = open(wants)
	return fds, unix.Setns(own, unix.CLONE_NEWNET) == nil, err
}

func open(wants []Want) ([]int, error) {
	fds := make([]int, 0, len(wants))
	for _, w := range wants {
		fd, err := w.open()
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (w Want) open() (int, error) {
	if w.Setting == "" {
		fd, err := unix.Socket(w.Domain, w.Type|unix.SOCK_CLOEXEC, w.Protocol)
		return fd, os.NewSyscallError("socket", err)
	}
	path := "/proc/sys/net/" + w.Setting
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, nil
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}
