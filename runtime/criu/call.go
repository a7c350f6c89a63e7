// Package criu asks CRIU (https://criu.org) to dump and restore processes, in
// the protocol of 'criu swrk': requests and answers over a unix socket, with
// notifications in between at which the asker can act or refuse.
package criu

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Notification is one of criu's points of call.
type Notification struct {
	// Script names the point, as action scripts know it: "setup-namespaces",
	// "post-restore", "orphan-pts-master", …
	Script string
	// Pid is the first process, where there is one already.
	Pid int
	// File came with the notification, or is nil.
	File *os.File
}

// Error is what criu says of a request that failed.
type Error struct {
	Kind    Kind
	Message string // may be empty
	Errno   syscall.Errno
}

// Error names the request and the reason.
func (e *Error) Error() string {
	text := "criu " + e.Kind.String() + " failed"
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Errno != 0 {
		text += ": " + e.Errno.Error()
	}
	return text
}

// ErrGone is returned when criu ended without an answer.
var ErrGone = errors.New("criu ended without an answer")

// Call sends one request over the socket of a 'criu swrk' and follows it to its
// end. An error of notified makes criu give up; it is returned then.
func Call(socket *os.File, kind Kind, o *Options, notified func(Notification) error) error {
	var request message
	request.number(1, int64(kind))
	request.message(2, o.encode())
	if err := send(socket, request); err != nil {
		return err
	}
	var refused error
	for {
		a, err := receive(socket)
		if err != nil {
			return errors.Join(refused, err)
		}
		if a.kind != notify {
			switch {
			case refused != nil:
				return refused
			case a.kind != kind:
				return fmt.Errorf("%w: it answers %d to %d", errWire, a.kind, kind)
			case !a.success:
				return &Error{kind, a.message, a.errno}
			}
			return nil
		}
		if err := notified(a.Notification); err != nil && refused == nil {
			refused = err
		}
		if a.File != nil {
			a.File.Close()
		}
		goOn := int64(1)
		if refused != nil {
			goOn = 0
		}
		var reply message
		reply.number(1, int64(notify))
		reply.number(3, goOn)
		if err := send(socket, reply); err != nil {
			return errors.Join(refused, err)
		}
	}
}

func send(socket *os.File, m message) error {
	err := unix.Sendmsg(int(socket.Fd()), m, nil, nil, unix.MSG_NOSIGNAL)
	if err == unix.EPIPE || err == unix.ECONNRESET {
		return ErrGone
	}
	return os.NewSyscallError("send to criu", err)
}

// answer is a criu_resp.
type answer struct {
	Notification
	kind    Kind
	success bool
	errno   syscall.Errno
	message string
}

// maxAnswer is more than any answer has; criu's own bound is 1 KiB.
const maxAnswer = 1 << 16

func receive(socket *os.File) (*answer, error) {
	data, control := make([]byte, maxAnswer), make([]byte, unix.CmsgSpace(4))
	n, controls, _, _, err := unix.Recvmsg(int(socket.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		n, controls, _, _, err = unix.Recvmsg(int(socket.Fd()), data, control, unix.MSG_CMSG_CLOEXEC)
	}
	if err == unix.ECONNRESET || err == nil && n == 0 {
		return nil, ErrGone
	}
	if err != nil {
		return nil, os.NewSyscallError("receive from criu", err)
	}
	a := &answer{}
	if messages, err := unix.ParseSocketControlMessage(control[:controls]); err == nil && len(messages) > 0 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) > 0 {
			a.File = os.NewFile(uintptr(fds[0]), "criu")
		}
	}
	if err := a.decode(data[:n]); err != nil {
		if a.File != nil {
			a.File.Close()
		}
		return nil, err
	}
	return a, nil
}

// plain leaves out the place in criu's source: "Error (criu/cr-dump.c:12): ".
func plain(message string) string {
	if _, text, found := strings.Cut(message, "): "); found && strings.HasPrefix(message, "Error (") {
		message = text
	}
	return strings.TrimRight(strings.TrimSpace(message), ";")
}

func (a *answer) decode(m []byte) error {
	return fields(m, func(field int, number uint64, data []byte) error {
		switch field {
		case 1:
			a.kind = Kind(number)
		case 2:
			a.success = number != 0
		case 5:
			return fields(data, func(field int, number uint64, data []byte) error {
				switch field {
				case 1:
					a.Script = string(data)
				case 2:
					a.Pid = int(int32(number))
				}
				return nil
			})
		case 7:
			a.errno = syscall.Errno(uint32(number))
		case 9:
			a.message = plain(string(data))
		}
		return nil
	})
}
