// Package inside is the part of loper-net that lives in the user's network namespace: a process that has joined it, and
// the user namespace that owns it, makes there what is wanted and hands the descriptors out. It never sees a packet.
package inside

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"loper.run/launch"

	"golang.org/x/sys/unix"
)

// Name is the first argument of the process; it calls Main.
const Name = "loper-net-inside"

// Settings are what is made in the namespace at the beginning.
type Settings struct {
	Interface string `json:"interface,omitempty"` // of the way out; empty: none
	MTU       int    `json:"mtu,omitempty"`
	IPv6      bool   `json:"ipv6,omitempty"` // the way out has IPv6 too
}

// Kind is a kind of socket: a sum of these.
type Kind byte

// The kinds. A socket may be bound to addresses that the namespace does not have.
const (
	TCP Kind = 0
	UDP Kind = 1
	V6  Kind = 2

	kinds = 4
)

// batch is how many sockets come at a time.
const batch = 8

// Process is the process in the namespace, seen from outside.
type Process struct {
	// Way is the tun interface's descriptor; nil without one.
	Way *os.File

	mu     sync.Mutex
	socket int
	spare  [kinds][]int
}

// Start starts the process in the namespaces, and waits until all is made.
func Start(user, network *os.File, s Settings) (*Process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "inside")
	defer theirs.Close()
	p := &Process{socket: pair[0]}
	if err := enter(user, network, theirs); err != nil {
		p.Close()
		return nil, err
	}
	theirs.Close()
	fds, err := p.ask(encode(s), 1)
	if err != nil {
		p.Close()
		return nil, err
	}
	if len(fds) == 1 {
		p.Way = os.NewFile(uintptr(fds[0]), s.Interface)
	}
	return p, nil
}

// enter starts this program again in the namespaces, as the user namespace's root.
func enter(user, network, socket *os.File) error {
	zero := []launch.Arg{launch.Int(0), launch.Int(0), launch.Int(0)}
	program := &launch.Program{}
	program.Add(
		launch.Op{Call: launch.Setns, Args: []launch.Arg{launch.Input("user"), launch.Flags(unix.CLONE_NEWUSER, "CLONE_NEWUSER")}, Text: "join the user namespace"},
		launch.Op{Call: launch.Setns, Args: []launch.Arg{launch.Input("network"), launch.Flags(unix.CLONE_NEWNET, "CLONE_NEWNET")}, Text: "join the network namespace"},
		launch.Op{Call: launch.Setresgid, Args: zero, Text: "become group 0 of the user namespace"},
		launch.Op{Call: launch.Setresuid, Args: zero, Text: "become user 0 of the user namespace"},
		launch.Op{Call: launch.Dup3, Args: []launch.Arg{launch.Input("socket"), launch.Int(socketFD), launch.Int(0)}, Text: "take the socket", Accept: []launch.Accept{{Errno: unix.EINVAL}}},
		launch.Op{Call: launch.Execve, Args: []launch.Arg{launch.String("/proc/self/exe"), launch.Strings([]string{Name}), launch.Strings([]string{"GOMAXPROCS=1"})}, Text: "execute " + Name},
	)
	c, err := launch.Start(program, launch.Files{"user": user, "network": network, "socket": socket}, nil)
	if err != nil {
		return err
	}
	if _, err := c.Next(); err != io.EOF {
		c.Abort()
		return fmt.Errorf("enter the containers' network namespace: %w", err)
	}
	go func() {
		_, _ = c.Wait()
		c.Close()
	}()
	return nil
}

// Socket makes a socket of a kind in the namespace. It is nonblocking, and the caller's to close.
func (p *Process) Socket(k Kind) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare[k]) == 0 {
		fds, err := p.ask([]byte{byte(k)}, batch)
		if err != nil {
			return -1, err
		}
		p.spare[k] = fds
	}
	last := len(p.spare[k]) - 1
	fd := p.spare[k][last]
	p.spare[k] = slices.Delete(p.spare[k], last, last+1)
	return fd, nil
}

// Close ends the process, and with it what it made, when nobody else is in the namespace. Sockets that were handed out stay.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.socket)
	if p.Way != nil {
		p.Way.Close()
	}
	for k := range p.spare {
		for _, fd := range p.spare[k] {
			unix.Close(fd)
		}
		p.spare[k] = nil
	}
}

// errEnded tells that the process in the namespace is gone.
var errEnded = errors.New("the process in the containers' network namespace has ended")

// ask sends a message and waits for up to most descriptors, or for an error as text.
func (p *Process) ask(message []byte, most int) ([]int, error) {
	if err := send(p.socket, message, nil); err != nil {
		return nil, errEnded
	}
	text, fds, err := receive(p.socket, most)
	switch {
	case err != nil:
		return nil, err
	case text != ok:
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, errors.New(text)
	}
	return fds, nil
}
