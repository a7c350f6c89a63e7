package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// pids lists the processes of the group and of all below it. A group that is gone has none.
func (g group) pids() ([]int, error) {
	dir, err := g.open("", unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var pids []int
	if err := pidsIn(dir, &pids, 0); err != nil {
		return nil, fmt.Errorf("processes of cgroup %s: %w", g.path(), err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// pidsIn adds the processes of dir, which it closes, and of the groups below.
func pidsIn(dir int, pids *[]int, depth int) error {
	text, err := readAt(dir, "cgroup.procs")
	switch {
	case err == unix.ENOENT || err == unix.ENODEV: // removed under our hands
		unix.Close(dir)
		return nil
	case err == unix.EOPNOTSUPP: // a threaded group: the one above lists its processes
	case err != nil:
		unix.Close(dir)
		return err
	}
	for line := range strings.Lines(text) {
		// 0 stands for a process that this pid namespace cannot see.
		if pid, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil && pid > 0 {
			*pids = append(*pids, pid)
		}
	}
	self, err := openIn(dir, "", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		unix.Close(dir)
		return err
	}
	defer unix.Close(self)
	names, err := subdirs(dir)
	if err != nil || depth >= maxDepth {
		return err
	}
	for _, name := range names {
		child, err := openIn(self, name, unix.O_RDONLY|unix.O_DIRECTORY)
		if err == unix.ENOENT {
			continue
		} else if err != nil {
			return err
		}
		if err := pidsIn(child, pids, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// killAll uses cgroup.kill, which no fork can outrun. It reports false where the kernel (before 5.14) has none.
func (g group) killAll() (bool, error) {
	err := g.write("cgroup.kill", "1")
	if err == nil {
		return true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return !g.exists(), nil
	}
	if errors.Is(err, unix.ENODEV) {
		return true, nil
	}
	return false, err
}

// signalRounds is how often signalAll looks for processes that were forked while it signalled the others.
const signalRounds = 100

// signalAll sends sig once to every process that list gives, until it gives no new ones.
//
// Each round opens pidfds for the listed numbers, lists again and signals those still listed. A number that was given
// to another process in between either is no longer listed, or its pidfd stands for the dead one; so nothing outside
// the group is ever signalled.
func signalAll(list func() ([]int, error), sig syscall.Signal) error {
	done := make(map[int]bool)
	var failed error
	for range signalRounds {
		pids, err := list()
		if err != nil {
			return err
		}
		fds := make(map[int]int)
		for _, pid := range pids {
			if done[pid] {
				continue
			}
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				fds[pid] = fd
			} else if err != unix.ESRCH {
				failed = fmt.Errorf("open process %d: %w", pid, err)
			}
		}
		if len(fds) == 0 {
			return failed
		}
		again, err := list()
		for pid, fd := range fds {
			if _, still := slices.BinarySearch(again, pid); still && err == nil {
				done[pid] = true
				if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
					failed = fmt.Errorf("signal process %d: %w", pid, err)
				}
			}
			unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
	return failed
}
