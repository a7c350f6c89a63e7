package userns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Write gives the user namespace of a process its ids. Root writes
// them; others go through newuidmap and newgidmap, unless the only id is their
// own.
func Write(pid int, uids, gids []specs.LinuxIDMapping) error {
	if len(uids) == 0 || len(gids) == 0 {
		return errors.New("a new user namespace needs uid and gid mappings")
	}
	proc := "/proc/" + strconv.Itoa(pid)
	// Root in a user namespace may map the ids that it has there.
	if os.Geteuid() == 0 {
		err := writeProc(proc+"/gid_map", mapText(gids))
		if err == nil {
			return writeProc(proc+"/uid_map", mapText(uids))
		}
		if Privileged() || !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	if ownID(uids, os.Geteuid()) && ownID(gids, os.Getegid()) {
		if err := writeProc(proc+"/setgroups", "deny"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := writeProc(proc+"/gid_map", mapText(gids)); err != nil {
			return err
		}
		return writeProc(proc+"/uid_map", mapText(uids))
	}
	if err := newIDMap("newgidmap", pid, gids); err != nil {
		return err
	}
	return newIDMap("newuidmap", pid, uids)
}

func ownID(mappings []specs.LinuxIDMapping, id int) bool {
	return len(mappings) == 1 && mappings[0].Size == 1 && int(mappings[0].HostID) == id
}

func mapText(mappings []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, m := range mappings {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.String()
}

// writeProc writes a file of /proc in one write, as its maps want it.
func writeProc(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return &os.PathError{Op: "write " + strconv.Quote(text) + " to", Path: path, Err: err}
	}
	return nil
}

// newIDMap asks the set-uid helper, which checks the ranges in /etc/subuid.
func newIDMap(helper string, pid int, mappings []specs.LinuxIDMapping) error {
	args := []string{strconv.Itoa(pid)}
	for _, m := range mappings {
		args = append(args, strconv.FormatUint(uint64(m.ContainerID), 10), strconv.FormatUint(uint64(m.HostID), 10), strconv.FormatUint(uint64(m.Size), 10))
	}
	out, err := exec.Command(helper, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", helper, err, strings.TrimSpace(string(out)))
	}
	return nil
}
