package usernet

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"loper.run/internal/netcontrol"
	"loper.run/network"
)

// Send writes data to a unix socket and hands the space over with it, nil: none.
func (s *Space) Send(socket *os.File, data []byte) error {
	var rights []byte
	if s != nil {
		rights = unix.UnixRights(s.Descriptors()...)
	}
	err := unix.EINTR
	for err == unix.EINTR {
		err, _ = unix.Sendmsg(int(socket.Fd()), data, rights, nil, unix.MSG_NOSIGNAL).(unix.Errno)
	}
	runtime.KeepAlive(s)
	if err != 0 {
		return os.NewSyscallError("sendmsg", err)
	}
	return nil
}

// HandedOver lets go of what another process keeps from now on. The network
// namespace stays open: it is the one in Use.
func (s *Space) HandedOver() {
	if s == nil {
		return
	}
	s.User.Close()
	if s.Carrier != nil {
		s.Carrier.Close()
	}
}

// Receive reads data and the space that came with it, nil: none.
func Receive(socket int, data []byte) (n int, s *Space, err error) {
	control := make([]byte, unix.CmsgSpace(3*4))
	var size int
	for {
		n, size, _, _, err = unix.Recvmsg(socket, data, control, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil || len(messages) == 0 {
		return n, nil, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) < 2 {
		return n, nil, err
	}
	return n, NewSpace(append(fds, -1)[:3]), nil
}

// Descriptors are those of the namespaces, and of the carrier if there is one.
func (s *Space) Descriptors() []int {
	fds := []int{int(s.User.Fd()), int(s.Net.Fd())}
	if s.Carrier != nil {
		fds = append(fds, int(s.Carrier.File().Fd()))
	}
	return fds
}

// NewSpace is the space of three descriptors that another process or program
// had: the namespaces and the carrier, -1: none.
func NewSpace(fds []int) *Space {
	s := &Space{User: os.NewFile(uintptr(fds[0]), "user namespace"), Net: os.NewFile(uintptr(fds[1]), "network namespace")}
	if fds[2] >= 0 {
		s.Carrier = netcontrol.NewClient(os.NewFile(uintptr(fds[2]), "loper-net"))
	}
	return s
}

// Use makes the space the place of the networks of this process.
func (s *Space) Use() { network.HostNamespace = s.Net }
