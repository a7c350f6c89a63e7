// Package flock locks files between processes. The kernel drops a lock when
// its holder dies, however it dies, so a lock also tells whether somebody lives.
package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrHeld is returned by the Try functions when somebody else has the lock.
var ErrHeld = errors.New("lock is held")

// Exclusive opens path, creating it when missing, and waits for the only lock.
// Closing the file releases it.
func Exclusive(path string) (*os.File, error) { return lock(path, unix.LOCK_EX) }

// Shared is like Exclusive for a lock that several may hold at once.
func Shared(path string) (*os.File, error) { return lock(path, unix.LOCK_SH) }

// TryExclusive is like Exclusive, but fails with ErrHeld instead of waiting.
func TryExclusive(path string) (*os.File, error) { return lock(path, unix.LOCK_EX|unix.LOCK_NB) }

// TryShared is like Shared, but fails with ErrHeld instead of waiting.
func TryShared(path string) (*os.File, error) { return lock(path, unix.LOCK_SH|unix.LOCK_NB) }

func lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Lock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Lock applies a unix.LOCK_… operation to an open file or directory.
func Lock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EWOULDBLOCK:
			return ErrHeld
		}
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
}
