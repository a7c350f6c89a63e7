package netcontrol

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is how loper-net is started.
type Program struct {
	Path string // of the program
	Dir  string // where its socket is, a directory of the user's alone
	Log  string // a file that its errors are appended to; empty: none

	// Interface is the name of the interface that is made in the network
	// namespace as the way out, with the default routes; empty: the way out is
	// somebody else's, as pasta's, and only ports are published.
	Interface string
	MTU       int // of that interface: the containers'; 0: 1500
	// HostLoopback lets the way out's gateway address lead to the host's
	// loopback. Without it no address does.
	HostLoopback bool
}

// The addresses of the way out: the interface's own, and the gateway at its
// other end. They are of blocks for just such a wire: RFC 7335, and a unique
// local one.
const (
	Address  = "192.0.0.2"
	Address6 = "fd6c:6f70:6572::2"
	Gateway  = "192.0.0.1"
	Gateway6 = "fd6c:6f70:6572::1"
)

// Find returns the path of loper-net: $LOPER_NET, or the one beside this
// program. The error is os.ErrNotExist when it is not installed.
func Find() (string, error) {
	if p := os.Getenv("LOPER_NET"); p != "" {
		return p, nil
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	p := filepath.Join(filepath.Dir(own), "loper-net")
	if st, err := os.Stat(p); err != nil || !st.Mode().IsRegular() {
		return "", fmt.Errorf("loper-net is not installed beside %s: %w", own, os.ErrNotExist)
	}
	return p, nil
}

// Start starts the program for a user namespace that is the caller's own and a
// network namespace of that, and connects to it. The caller holds a lock, so
// that no two are started in one directory, and has found by Dial that there is
// none. The process outlives the caller.
func (p Program) Start(user, network *os.File) (*Client, error) {
	if err := os.Remove(filepath.Join(p.Dir, SocketFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := socketIn(p.Dir, func(fd int, address unix.Sockaddr) error {
		if err := unix.Bind(fd, address); err != nil {
			return err
		}
		return unix.Listen(fd, 128)
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s/%s: %w", p.Dir, SocketFile, err)
	}
	theirs := os.NewFile(uintptr(listener), SocketFile)
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log := null
	if p.Log != "" {
		if log, err = os.OpenFile(p.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
			return nil, err
		}
		defer log.Close()
	}
	argv := []string{p.Path}
	if p.Interface != "" {
		argv = append(argv, "--interface", p.Interface)
	}
	if p.MTU != 0 {
		argv = append(argv, "--mtu", strconv.Itoa(p.MTU))
	}
	if p.HostLoopback {
		argv = append(argv, "--host-loopback")
	}
	pid, err := syscall.ForkExec(p.Path, argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/bin:/bin"},
		Files: []uintptr{null.Fd(), null.Fd(), log.Fd(), theirs.Fd(), user.Fd(), network.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Path, err)
	}
	go syscall.Wait4(pid, nil, 0, nil) // in case we live longer than it
	// With our descriptor it would be waited for in vain, were it dead.
	theirs.Close()
	c, err := Dial(p.Dir)
	if errors.Is(err, ErrEnded) && p.Log != "" {
		return nil, fmt.Errorf("%w; see %s", err, p.Log)
	}
	return c, err
}
