package inside

import (
	"encoding/json"
	"os"

	"golang.org/x/sys/unix"
)

// ok is the text of an answer without an error.
const ok = "ok"

func encode(s Settings) []byte {
	data, _ := json.Marshal(s) // has only strings and numbers
	return data
}

func send(socket int, message []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		if err := unix.Sendmsg(socket, message, rights, nil, unix.MSG_NOSIGNAL); err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// receive waits for a message with at most so many descriptors.
func receive(socket, most int) (text string, fds []int, err error) {
	var data [4096]byte
	control := make([]byte, unix.CmsgSpace(4*most))
	var n, oob int
	for {
		if n, oob, _, _, err = unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return "", nil, os.NewSyscallError("recvmsg", err)
	}
	if n == 0 {
		return "", nil, errEnded
	}
	messages, _ := unix.ParseSocketControlMessage(control[:oob])
	for i := range messages {
		more, _ := unix.ParseUnixRights(&messages[i])
		fds = append(fds, more...)
	}
	return string(data[:n]), fds, nil
}
