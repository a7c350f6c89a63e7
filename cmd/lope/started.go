package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"loper.run/internal/fdpass"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// started holds the flags of all commands that start a process.
type started struct {
	consoleSocket, pidFile, pidfdSocket string
	preserveFDs                         int
}

func (s *started) flags(f *pflag.FlagSet) {
	f.StringVar(&s.consoleSocket, "console-socket", "", "unix socket that takes the terminal")
	f.StringVar(&s.pidFile, "pid-file", "", "file that takes the process id")
	f.StringVar(&s.pidfdSocket, "pidfd-socket", "", "unix socket that takes a descriptor of the process")
	f.IntVar(&s.preserveFDs, "preserve-fds", 0, "how many descriptors from 3 on to hand down, besides those of socket activation")
}

// preserved is how many descriptors from 3 on the process gets, the first of
// them by socket activation. They must have come from the caller: lope's own,
// which close at an execve, are not for a container.
func (s *started) preserved(listening int) (int, error) {
	if s.preserveFDs < 0 {
		return 0, fmt.Errorf("--preserve-fds %d: a number from 0 on is expected", s.preserveFDs)
	}
	n := listening + s.preserveFDs
	for fd := 3; fd < 3+n; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		switch {
		case err == nil && flags&unix.FD_CLOEXEC == 0:
		case fd < 3+listening:
			return 0, fmt.Errorf("LISTEN_FDS=%d: there is no descriptor %d", listening, fd)
		default:
			return 0, fmt.Errorf("--preserve-fds %d: there is no descriptor %d", s.preserveFDs, fd)
		}
	}
	return n, nil
}

// publish writes the id of a process and sends a pidfd of it, with a word of
// what kind of process it is. The process is a child that nobody waited for, so
// its id is still its own.
func (s *started) publish(pid int, kind string) error {
	if s.pidfdSocket != "" {
		if err := sendPidfd(s.pidfdSocket, pid, kind); err != nil {
			return err
		}
	}
	if s.pidFile == "" {
		return nil
	}
	return writePid(s.pidFile, pid)
}

func sendPidfd(path string, pid int, kind string) error {
	conn, err := dialSocket("pidfd", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if err := fdpass.Send(int(conn.Fd()), kind, fd); err != nil {
		return fmt.Errorf("send to the pidfd socket %s: %w", path, err)
	}
	return nil
}

// writePid replaces the file, so that no reader sees half a number.
func writePid(path string, pid int) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+name+".")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(strconv.Itoa(pid)); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
