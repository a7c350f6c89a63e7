package launch

import (
	"errors"
	"syscall"
)

// ErrDied is returned when the child ended without a word: it was killed.
var ErrDied = errors.New("the process was killed before it could start the program")

// Error is the failure of one operation.
type Error struct {
	Op    Op
	Errno syscall.Errno
}

// Error names the operation, the cause and the place in config.json.
func (e *Error) Error() string {
	text := e.Op.Text
	if text == "" {
		text = e.Op.Call.Name
	}
	text += ": " + e.Errno.Error()
	if e.Op.Field != "" {
		text += " (config.json: " + e.Op.Field + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Errno }
