package launch

import (
	"os"

	"golang.org/x/sys/unix"
)

// Adopt is a child of this process that another program made for it, as with
// CLONE_PARENT. It walks no program: it can be signalled and waited for, not
// followed.
func Adopt(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return &Process{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}
