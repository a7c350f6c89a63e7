// Package proc tells processes apart: an id may be given to another process, but
// not with the same start.
package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Stat reads a process's state, as 'Z', and when it started, in clock ticks
// since boot.
func Stat(pid int) (state byte, started uint64, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold anything; the fields follow its end.
	_, rest, found := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat makes no sense", pid)
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0][0], started, err
}

// ID is a process, and never another that got its number.
type ID struct {
	Pid     int
	Started uint64
}

// Find is the process that has a number now.
func Find(pid int) (ID, error) {
	_, started, err := Stat(pid)
	return ID{pid, started}, err
}

// Parse reads what String wrote.
func Parse(text string) (id ID, err error) {
	pid, started, _ := strings.Cut(strings.TrimSpace(text), " ")
	if id.Pid, err = strconv.Atoi(pid); err == nil {
		id.Started, err = strconv.ParseUint(started, 10, 64)
	}
	return id, err
}

// String is for a file.
func (id ID) String() string { return strconv.Itoa(id.Pid) + " " + strconv.FormatUint(id.Started, 10) }

// Alive tells whether the process runs. One that was not waited for has ended.
func (id ID) Alive() bool {
	state, started, err := Stat(id.Pid)
	return err == nil && started == id.Started && state != 'Z' && state != 'X'
}

// Signal sends it a signal; ESRCH: it has ended.
func (id ID) Signal(s unix.Signal) error {
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !id.Alive() { // what the descriptor refers to can't change any more
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, s, nil, 0)
}
