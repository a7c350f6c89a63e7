package layer

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"

	"loper.run/image/oci"
)

// maxReport bounds what a worker may say at its end, in bytes.
const maxReport = 8 << 20

// outcome is what a worker says at its end.
type outcome struct {
	Result Result        `json:"result"`
	Error  string        `json:"error,omitempty"`
	Errno  syscall.Errno `json:"errno,omitempty"`
	Cut    bool          `json:"cut,omitempty"`
	// Special is what is left to the caller.
	Special []special `json:"special,omitempty"`
}

// failed takes down what callers may want to know of an error.
func (o *outcome) failed(err error) {
	if err != nil {
		o.Error, o.Cut = err.Error(), errors.Is(err, io.ErrUnexpectedEOF)
		errors.As(err, &o.Errno)
	}
}

// err is the worker's error, with what callers ask it for.
func (o outcome) err() error {
	if o.Error == "" {
		return nil
	}
	e := &workerError{text: o.Error}
	if o.Errno != 0 {
		e.cause = o.Errno
	} else if o.Cut {
		e.cause = io.ErrUnexpectedEOF
	}
	return e
}

type workerError struct {
	text  string
	cause error
}

func (e *workerError) Error() string { return e.text }
func (e *workerError) Unwrap() error { return e.cause }

// listener hears a worker. The worker may have been taken over by what it read,
// so nothing is believed that could not be true of some layer.
type listener struct {
	most      Limits
	algorithm oci.Algorithm
	progress  func(int64)
	ending    func() // the report is there, and the worker about to end
	out       outcome
}

var errNonsense = errors.New("the worker's report makes no sense")

// listen reads numbers of used bytes and then the report, to the end.
func (l *listener) listen(r io.Reader) error {
	for used := uint64(0); ; {
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err == io.EOF {
			return errors.New("the worker ended without a report")
		} else if err != nil {
			return err
		}
		n := binary.NativeEndian.Uint64(b[:])
		if n&last != 0 {
			return l.report(r, n&^last)
		}
		if n < used || n >= 1<<62 {
			return errNonsense
		}
		if used = n; l.progress != nil {
			l.progress(int64(n))
		}
	}
}

func (l *listener) report(r io.Reader, size uint64) error {
	if size > maxReport {
		return fmt.Errorf("%w: it has %d bytes", errNonsense, size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	if l.ending != nil {
		l.ending()
	}
	if n, _ := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: it goes on after its end", errNonsense)
	}
	if err := json.Unmarshal(text, &l.out); err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	return l.check()
}

func (l *listener) check() error {
	o, r := &l.out, &l.out.Result
	switch {
	case r.Bytes < 0 || r.Bytes > l.most.Bytes || r.Entries < 0 || r.Devices < 0 || r.Devices > r.Entries || r.Xattrs < 0:
		return fmt.Errorf("%w: its numbers can't be", errNonsense)
	case o.Error == "" && (o.Errno != 0 || o.Cut || r.Entries > l.most.Entries || r.DiffID.Algorithm() != l.algorithm):
		return fmt.Errorf("%w: it is no success", errNonsense)
	}
	for i := range o.Special {
		if err := o.Special[i].check(); err != nil {
			return err
		}
	}
	o.Error = oneLine(o.Error)
	r.FirstDevice = oneLine(r.FirstDevice)
	return nil
}

// oneLine makes a worker's words fit for an error.
func oneLine(s string) string {
	const most = 4096
	if len(s) > most {
		s = s[:most]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}
