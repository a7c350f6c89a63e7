package cgroup

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Delegate gives the directory and the files of /sys/kernel/cgroup/delegate to uid, and no others: with them the
// container could lift its own limits.
func (m *v2) Delegate(uid int) error {
	names := []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}
	if b, err := os.ReadFile("/sys/kernel/cgroup/delegate"); err == nil {
		names = strings.Fields(string(b))
	}
	for _, name := range append(names, "") {
		if name != "" && checkName(name) != nil {
			continue
		}
		fd, err := m.open(name, unix.O_PATH)
		if name != "" && gone(err) {
			continue
		} else if err != nil {
			return err
		}
		err = unix.Fchownat(fd, "", uid, -1, unix.AT_EMPTY_PATH)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("give %s of cgroup %s to user %d: %w", name, m.path(), uid, err)
		}
	}
	return nil
}
