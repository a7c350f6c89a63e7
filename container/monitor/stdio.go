package monitor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/internal/fdpass"
)

// stdio is the container's streams: its ends, and the monitor's, which do not
// block. Without a terminal they are pipes; with one, a socket brings it.
type stdio struct {
	in, out, err, console *os.File // nil: none
	inW, outR, errR       int      // -1: none
	consoleR              int
}

func newStdio(c *Config) (*stdio, error) {
	s := &stdio{inW: -1, outR: -1, errR: -1, consoleR: -1}
	if c.Terminal {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("console socket: %w", err)
		}
		s.consoleR, s.console = pair[0], os.NewFile(uintptr(pair[1]), "console socket")
		return s, nil
	}
	var theirs int
	var err error
	if c.OpenStdin {
		if theirs, s.inW, err = pipe(); err != nil {
			return nil, err
		}
		s.in = os.NewFile(uintptr(theirs), "stdin")
		unix.SetNonblock(s.inW, true)
	}
	if s.outR, theirs, err = pipe(); err != nil {
		return nil, err
	}
	s.out = os.NewFile(uintptr(theirs), "stdout")
	unix.SetNonblock(s.outR, true)
	if s.errR, theirs, err = pipe(); err != nil {
		return nil, err
	}
	s.err = os.NewFile(uintptr(theirs), "stderr")
	unix.SetNonblock(s.errR, true)
	return s, nil
}

func pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("pipe: %w", err)
	}
	return p[0], p[1], nil
}

// closeTheirs closes the container's ends.
func (s *stdio) closeTheirs() {
	for _, f := range []*os.File{s.in, s.out, s.err, s.console} {
		if f != nil {
			f.Close()
		}
	}
}

// master receives the terminal's master. Its number for input is another one,
// so that both can be waited for on their own. The other end is held open too:
// otherwise the terminal would be at its end, for good, when the container's
// last process that has it closes it.
func (s *stdio) master(input bool) (out, in, slave int, err error) {
	defer unix.Close(s.consoleR)
	in, slave = -1, -1
	if out, err = fdpass.Receive(s.consoleR); err != nil {
		return -1, -1, -1, fmt.Errorf("receive the container's terminal: %w", err)
	}
	if err := unix.SetNonblock(out, true); err != nil {
		return -1, -1, -1, err
	}
	if input {
		if in, err = unix.FcntlInt(uintptr(out), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return -1, -1, -1, err
		}
	}
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	if fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(out), unix.TIOCGPTPEER, flags); errno == 0 {
		slave = int(fd)
	}
	return out, in, slave, nil
}
