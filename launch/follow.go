package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Follow reads what a program that was told to ReportTo a socket says there,
// until it became another program (nil) or an operation failed (*Error).
// describe gives the operation with an index; of the program itself only the
// texts need to be kept.
func Follow(socket *os.File, describe func(index int) Op) error {
	for execs := false; ; {
		r, err := readReport(socket)
		switch {
		case errors.Is(err, io.EOF) && execs:
			return nil
		case errors.Is(err, io.EOF):
			return ErrDied
		case err != nil:
			return err
		case r.kind == reportFailure:
			return &Error{Op: describe(int(r.index)), Errno: syscall.Errno(r.value)}
		case r.kind == reportExec:
			execs = true
		}
	}
}

// readReport reads one report; io.EOF: the other end is closed.
func readReport(socket *os.File) (report, error) {
	var r report
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))
	n, err := socket.Read(buf)
	if n == 0 && (err == nil || errors.Is(err, unix.ECONNRESET)) {
		err = io.EOF
	}
	if err != nil {
		return r, err
	}
	if n != len(buf) {
		return r, fmt.Errorf("the child sent %d bytes that make no sense", n)
	}
	return r, nil
}
