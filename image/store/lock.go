package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
)

// wait takes a lock as soon as it is free. It asks again and again, because a
// process that sleeps in flock hears of no context.
func wait(ctx context.Context, f *os.File, how int) error {
	pause := time.Millisecond
	for {
		err := flock.Lock(f, how|unix.LOCK_NB)
		if !errors.Is(err, flock.ErrHeld) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// hold opens a file or directory that may be renamed or removed by whoever has
// its lock, and takes that lock. The result is what the path names.
func hold(ctx context.Context, path string, flags, how int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		if how&unix.LOCK_NB != 0 {
			err = flock.Lock(f, how)
		} else {
			err = wait(ctx, f, how)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		if same(f, path) {
			return f, nil
		}
		f.Close()
	}
}

// same reports whether path still names the open file.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

const onlyDir = os.O_RDONLY | unix.O_DIRECTORY

// Use keeps the collector out until release is called: everything found or
// put in between stays. It waits while a collector runs. What killed processes
// left in staging is removed on the way.
func (s *Store) Use(ctx context.Context) (release func(), err error) {
	f, err := os.OpenFile(s.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) { // what is there can be read, saved and pushed
		f, err = os.Open(s.path("lock"))
	}
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, f, unix.LOCK_SH); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	s.sweep() // what cannot be removed does no harm here; Collect tells of it
	return func() { f.Close() }, nil
}

// sweep removes the staging that nobody holds.
func (s *Store) sweep() (int, error) {
	names, err := readNames(s.path(stagingDir))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, name := range names {
		path := s.path(stagingDir, name)
		f, err := hold(context.Background(), path, onlyDir, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, flock.ErrHeld) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.remove(s.path(stagingDir), name)
			f.Close()
		} else if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			err = os.Remove(path) // no work of ours
		}
		if err != nil {
			return n, fmt.Errorf("remove stale staging: %w", err)
		}
		n++
	}
	return n, nil
}
