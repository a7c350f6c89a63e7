package cgroup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// lookAgain is how often an OOMWatch looks whether the group still exists. The kernel tells most ends by itself.
const lookAgain = 10 * time.Second

// OOMWatch waits for the kernel's out-of-memory killer in one group.
type OOMWatch struct {
	group group
	wakes *os.File // v1: an eventfd; v2: an inotify descriptor
	seen  uint64   // v2: kills so far
	v2    bool
}

// watchV1 has the kernel count into an eventfd (cgroup v1's cgroup.event_control).
func watchV1(g group) (*OOMWatch, error) {
	control, err := g.open("memory.oom_control", unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("watch for lack of memory: %w", err)
	}
	defer unix.Close(control)
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for lack of memory: eventfd: %w", err)
	}
	w := &OOMWatch{group: g, wakes: os.NewFile(uintptr(event), "eventfd")}
	if err := g.write("cgroup.event_control", strconv.Itoa(event)+" "+strconv.Itoa(control)); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch for lack of memory: %w", err)
	}
	return w, nil
}

// watchV2 watches memory.events, and cgroup.events for the end of the last process.
func watchV2(g group) (*OOMWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for lack of memory: inotify: %w", err)
	}
	w := &OOMWatch{group: g, wakes: os.NewFile(uintptr(fd), "inotify"), v2: true}
	for _, name := range [2]string{"memory.events", "cgroup.events"} {
		file, err := g.open(name, unix.O_PATH)
		if errors.Is(err, fs.ErrNotExist) && g.exists() {
			err = fmt.Errorf("cgroup %s has no %s", g.path(), name)
		}
		if err == nil {
			_, err = unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(file), unix.IN_MODIFY)
			unix.Close(file)
		}
		if err != nil {
			w.Close()
			return nil, fmt.Errorf("watch for lack of memory: %w", err)
		}
	}
	w.seen, err = w.kills()
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("watch for lack of memory: %w", err)
	}
	return w, nil
}

func (w *OOMWatch) kills() (uint64, error) {
	text, err := w.group.read("memory.events")
	return field(text, "oom_kill"), err
}

// Wait blocks until the kernel has ended a process of the group (on v2: or of those below) for lack of memory. Kills
// before the watch began don't count, and several in a row may be told as one. It returns io.EOF once the group has no
// process any more (v1: is gone), and an error that matches os.ErrClosed after Close.
func (w *OOMWatch) Wait() error {
	for {
		if over, err := w.over(); over || err != nil {
			if err == nil {
				err = io.EOF
			}
			return err
		}
		var buf [512]byte
		_ = w.wakes.SetReadDeadline(time.Now().Add(lookAgain))
		_, err := w.wakes.Read(buf[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return fmt.Errorf("watch for lack of memory: %w", err)
		case !w.v2:
			if !w.group.exists() { // the kernel tells the end in the same way
				return io.EOF
			}
			return nil
		}
		if now, err := w.kills(); err == nil && now > w.seen {
			w.seen = now
			return nil
		}
	}
}

// over reports whether nothing can happen in the group any more.
func (w *OOMWatch) over() (bool, error) {
	if !w.v2 {
		return !w.group.exists(), nil
	}
	text, err := w.group.read("cgroup.events")
	if gone(err) {
		return true, nil
	}
	return field(text, "populated") == 0, err
}

// Close ends the watch, and a Wait in another goroutine.
func (w *OOMWatch) Close() error { return w.wakes.Close() }

// WatchOOM watches the group of the memory controller.
func (m *v1) WatchOOM() (*OOMWatch, error) {
	g := m.find("memory")
	if g == nil {
		return nil, errors.New("watch for lack of memory: the memory controller is not mounted on this machine")
	}
	return watchV1(g.group)
}

func (m *v2) WatchOOM() (*OOMWatch, error) { return watchV2(m.group) }

func (none) WatchOOM() (*OOMWatch, error) {
	return nil, fmt.Errorf("watch for lack of memory: %w", ErrNoGroup)
}
