package inside

import (
	"fmt"
	"os"

	"loper.run/internal/confine"

	"golang.org/x/sys/unix"
)

// hide keeps who has the same rights, a process of a container with all of the user's ids, from looking in.
func hide() error {
	return os.NewSyscallError("set not dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// confineSelf leaves the right to make transparent sockets.
func confineSelf() error {
	if err := confine.Keep(1 << unix.CAP_NET_RAW); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return confine.Self(confine.Sockets(unix.Getpid()), true)
}
