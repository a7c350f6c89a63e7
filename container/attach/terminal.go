package attach

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Terminal is the user's terminal in raw mode: every key goes to the
// container, nothing is echoed here.
type Terminal struct {
	fd  int
	old *term.State
}

// MakeRaw puts the terminal f is open on into raw mode.
func MakeRaw(f *os.File) (*Terminal, error) {
	fd := int(f.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("raw mode of %s: %w", f.Name(), err)
	}
	return &Terminal{fd: fd, old: old}, nil
}

// Restore gives the terminal the settings it had. It may be called twice, and
// on a nil Terminal.
func (t *Terminal) Restore() error {
	if t == nil {
		return nil
	}
	return term.Restore(t.fd, t.old)
}

// again enters raw mode once more, after a stop in which the shell had the
// terminal. What Restore restores stays.
func (t *Terminal) again() {
	if t != nil {
		term.MakeRaw(t.fd)
	}
}

// Size is the size of the terminal f is open on; ok is false when it is none.
func Size(f *os.File) (rows, cols uint16, ok bool) {
	if f == nil {
		return 0, 0, false
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return ws.Row, ws.Col, true
}
