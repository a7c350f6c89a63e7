package flock

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Queue opens a place in a queue of processes, of which one at a time has the
// turn: a FIFO that nothing is written to, made when missing. When who has the
// turn ends, however it does, the descriptor is reported as hung up.
func Queue(path string) (fd int, err error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// Turn takes the turn in a queue, or fails with ErrHeld. It lasts until both
// descriptors are closed.
//
// Who ends between its two steps wakes nobody: whoever failed tries once more
// after a while.
func Turn(queue int) (turn int, err error) {
	if err := unix.Flock(queue, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			return -1, ErrHeld
		}
		return -1, os.NewSyscallError("flock", err)
	}
	// The writing end is what the others see hang up.
	turn, err = unix.Open("/proc/self/fd/"+strconv.Itoa(queue), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Flock(queue, unix.LOCK_UN)
		return -1, os.NewSyscallError("open the writing end of a queue", err)
	}
	return turn, nil
}
