package logs

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// follower waits until a log changes. inotify on the directory tells of writes
// and rotations; a look every tick tells of the monitor's end.
type follower struct {
	fd   int // inotify
	lock string
}

const tick = 100 * time.Millisecond

func newFollower(path, lock string) (*follower, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("follow %s: inotify: %w", path, err)
	}
	// Without inotify's watches, a limit of the user's, the tick suffices.
	unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE)
	return &follower{fd: fd, lock: lock}, nil
}

func (f *follower) close() { unix.Close(f.fd) }

// wait returns at the next change, or after a tick.
func (f *follower) wait() {
	fds := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}}
	unix.Poll(fds, int(tick/time.Millisecond))
	var events [4096]byte
	for {
		if n, err := unix.Read(f.fd, events[:]); n <= 0 || err != nil {
			return
		}
	}
}

// alive reports whether the monitor has its lock. The lock is asked for, never
// made: the directory goes with the container.
func (f *follower) alive() bool {
	if f.lock == "" {
		return true
	}
	fd, err := unix.Open(f.lock, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}

// follow hands on records as they are written.
func (r *reader) follow(f *follower) error {
	for {
		// Asked before the files are read: what was written before the
		// end is read after it.
		alive := f.alive()
		if err := r.catchUp(); err != nil {
			return err
		}
		if !alive || !r.q.Until.IsZero() && time.Now().After(r.q.Until) {
			return nil
		}
		if err := r.idle(); err != nil {
			return err
		}
		f.wait()
	}
}

// catchUp reads all there is, across rotations.
func (r *reader) catchUp() error {
	for {
		if err := r.rest(); err != nil {
			return err
		}
		next, err := after(r.path, r.l.f)
		if next == nil || err != nil {
			return err
		}
		// The old file was written to until it was rotated.
		if err := r.rest(); err != nil {
			next.Close()
			return err
		}
		r.open(next)
	}
}
