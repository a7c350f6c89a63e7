package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// freezeTime is how long a group may take to stop. A process in an uninterruptible wait can take for ever.
const freezeTime = 2 * time.Second

// freezeV2 stops the group with cgroup.freeze and waits until the kernel says it has.
func (g group) freezeV2() error {
	if err := g.write("cgroup.freeze", "1"); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	fd, err := g.open("cgroup.events", unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	defer unix.Close(fd)
	for end := time.Now().Add(freezeTime); ; {
		if _, err := unix.Seek(fd, 0, 0); err != nil {
			return fmt.Errorf("freeze cgroup %s: %w", g.path(), err)
		}
		text, err := readFD(fd)
		if err != nil {
			return fmt.Errorf("freeze cgroup %s: %w", g.path(), err)
		}
		if field(text, "frozen") == 1 {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			break
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
		_, _ = unix.Poll(p, int(left.Milliseconds())+1)
	}
	_ = g.thawV2()
	return fmt.Errorf("freeze cgroup %s: some processes did not stop within %v", g.path(), freezeTime)
}

func (g group) thawV2() error {
	if err := g.write("cgroup.freeze", "0"); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	return nil
}

// frozenV2 is false for a group that is gone.
func (g group) frozenV2() (bool, error) {
	text, err := g.read("cgroup.events")
	if gone(err) {
		return false, nil
	}
	return field(text, "frozen") == 1, err
}

// freezeV1 uses the freezer controller. It can hang at FREEZING when a process forks at the wrong moment; letting all
// go for an instant and beginning again solves that.
func (g group) freezeV1() error {
	end := time.Now().Add(freezeTime)
	for try := 1; time.Now().Before(end); try++ {
		if err := g.write("freezer.state", "FROZEN"); err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		if try%50 == 0 {
			_ = g.thawV1()
		}
		text, err := g.read("freezer.state")
		if err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		if strings.TrimSpace(text) == "FROZEN" {
			return nil
		}
		time.Sleep(min(time.Duration(try)*20*time.Microsecond, 5*time.Millisecond))
	}
	_ = g.thawV1()
	return fmt.Errorf("freeze cgroup %s: some processes did not stop within %v", g.path(), freezeTime)
}

func (g group) thawV1() error {
	if err := g.write("freezer.state", "THAWED"); err != nil {
		return fmt.Errorf("thaw: %w", err)
	}
	return nil
}

// frozenV1 is false for a group that is gone.
func (g group) frozenV1() (bool, error) {
	text, err := g.read("freezer.state")
	if gone(err) {
		return false, nil
	}
	return strings.TrimSpace(text) == "FROZEN", err
}

// gone reports whether a group's file was missing, or its group removed while the file was open.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }
