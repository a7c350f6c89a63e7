package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"loper.run/internal/flock"

	"golang.org/x/sys/unix"
)

// busyTime is how long a forced deletion waits for one who is at work on the
// container, before it ends him.
const busyTime = 2 * time.Second

// seize takes the lock of a container that is to be deleted by force. Who
// holds it may be waiting for a hook that never ends: he is killed, and takes
// the hook with him. With a *DamagedError there is a lock too.
func (c *Container) seize() (*os.File, error) {
	lock, err := lockDir(c.dir, busyTime)
	if errors.Is(err, flock.ErrHeld) {
		c.endHolder()
		lock, err = lockDir(c.dir, lockTimeout)
	}
	if err != nil {
		return nil, c.busy(err)
	}
	return lock, c.readState()
}

// endHolder kills the process that holds the lock.
func (c *Container) endHolder() {
	pid, err := c.holder()
	if err != nil || pid == os.Getpid() {
		return
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd)
	if again, err := c.holder(); err == nil && again == pid { // so the descriptor is of no later process
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // who has ended holds nothing
	}
}

// holder asks the kernel for the process that has locked the state directory.
func (c *Container) holder() (int, error) {
	var st unix.Stat_t
	if err := unix.Lstat(c.dir, &st); err != nil {
		return 0, err
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	table, err := readLimited(f)
	if err != nil {
		return 0, err
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(table)) {
		// 1: FLOCK  ADVISORY  WRITE 123 00:1a:456 0 EOF
		if fields := strings.Fields(line); len(fields) == 8 && fields[1] == "FLOCK" && fields[5] == file {
			return strconv.Atoi(fields[4])
		}
	}
	return 0, os.ErrNotExist
}
