package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
	"loper.run/launch"
)

// openAside is Open for an ordinary user, who has rights over a network
// namespace only inside the user namespace that owns it. No program of several
// threads can enter that, so a short-lived process goes there and hands over
// what it opened. The kernel judges by who opened it and by who uses it, and
// has nothing against the owner of the user namespace.
func openAside(namespace *os.File, wants []Want) (fds []int, err error) {
	p, owner, err := enter(namespace)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	for _, w := range wants {
		w.compile(p)
	}
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	return fds, userns.Aside(p, launch.Files{"owner": owner, "network": namespace}, func(c *launch.Process) error {
		for range wants {
			f, err := c.Receive()
			if err != nil {
				return err
			}
			fd := -1
			if f != nil {
				// An os.File would close it when nobody looks at it any more.
				fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
				f.Close()
			}
			if err != nil {
				return os.NewSyscallError("fcntl", err)
			}
			fds = append(fds, fd)
		}
		return nil
	})
}

// enter begins a program in a network namespace, whose descriptor and that of
// the user namespace it belongs to it needs as "network" and "owner".
func enter(namespace *os.File) (p *launch.Program, owner *os.File, err error) {
	if owner, err = Owner(namespace); err != nil {
		return nil, nil, err
	}
	p = &launch.Program{}
	p.Add(
		launch.Op{Call: launch.Setns, Args: []launch.Arg{launch.Input("owner"), launch.Flags(unix.CLONE_NEWUSER, "CLONE_NEWUSER")}, Text: "join the user namespace that owns the network namespace"},
		launch.Op{Call: launch.Setns, Args: []launch.Arg{launch.Input("network"), launch.Flags(unix.CLONE_NEWNET, "CLONE_NEWNET")}, Text: "join the network namespace"},
	)
	return p, owner, nil
}

// compile adds the opening of what is wanted, and the handing over.
func (w Want) compile(p *launch.Program) {
	fd := p.NewSlot()
	open := launch.Op{
		Call:   launch.Socket,
		Args:   []launch.Arg{launch.Int(w.Domain), launch.Int(w.Type | unix.SOCK_CLOEXEC), launch.Int(w.Protocol)},
		Result: fd, Text: "open a socket",
	}
	if w.Setting != "" {
		path := "/proc/sys/net/" + w.Setting
		open = launch.Op{
			Call:   launch.Openat,
			Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(path), launch.Flags(unix.O_RDWR|unix.O_CLOEXEC, "O_RDWR|O_CLOEXEC")},
			Result: fd, Text: "open " + path, Accept: []launch.Accept{{Errno: unix.ENOENT, Skip: 1}},
		}
	}
	send := launch.SendFile(launch.Input(launch.Parent), fd, "network", "hand a descriptor over", "")
	send.Skip = 1
	p.Add(open, send, launch.Op{Call: launch.Announce, Text: "there is no such setting"})
}

// Owner opens the user namespace that a namespace belongs to.
func Owner(namespace *os.File) (*os.File, error) {
	fd, err := unix.IoctlRetInt(int(namespace.Fd()), unix.NS_GET_USERNS)
	runtime.KeepAlive(namespace)
	if err != nil {
		return nil, fmt.Errorf("find the owner of %s: %w", namespace.Name(), err)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "user namespace"), nil
}
