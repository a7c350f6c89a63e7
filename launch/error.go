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
func (e *Error) Error() string { return e.Op.failed(e.Errno) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Errno }

// ArgumentError tells that the arguments of an operation can't be handed to
// the kernel, such as a path with a NUL byte.
type ArgumentError struct {
	Op  Op
	Err error
}

// Error names the operation, the cause and the place in config.json.
func (e *ArgumentError) Error() string { return e.Op.failed(e.Err) }

// Unwrap returns the cause.
func (e *ArgumentError) Unwrap() error { return e.Err }

func (o *Op) failed(cause error) string {
	text := o.Text
	if text == "" {
		text = o.Call.Name
	}
	text += ": " + cause.Error()
	if o.Field != "" {
		text += " (config.json: " + o.Field + ")"
	}
	return text
}
