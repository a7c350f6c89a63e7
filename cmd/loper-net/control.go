package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"loper.run/cmd/loper-net/ports"
	"loper.run/cmd/loper-net/sock"
	"loper.run/internal/netcontrol"
	"loper.run/internal/version"

	"golang.org/x/sys/unix"
)

// maxClients limits the connections: one for each running container, and some that come and go.
const maxClients = 4096

// control speaks with the user's engines and monitors.
type control struct {
	user, network *os.File
	ports         *ports.Table
	log           io.Writer
	listener      *sock.Socket
	uid           uint32 // of this user

	mu      sync.Mutex
	clients int
	idle    *time.Timer // ends the program before the first client
	over    bool
}

func (c *control) listen(fd int) (err error) {
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return fmt.Errorf("descriptor %d is no socket that listens; loper starts this program", fd)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	unix.CloseOnExec(fd)
	unix.CloseOnExec(netcontrol.UserNamespace)
	unix.CloseOnExec(netcontrol.NetworkNamespace)
	c.uid = uint32(os.Getuid()) // not asked for later: by then it may not be
	c.listener, err = sock.New(fd)
	return err
}

// refuse tells who waits that nothing comes of it.
func (c *control) refuse(reason error) {
	_ = c.listener.SetDeadline(time.Now().Add(time.Second))
	if s, err := c.accept(); err == nil {
		c.send(s, netcontrol.Hello{Error: reason.Error()}, false)
		s.Close()
	}
}

// serve answers until the last client has gone.
func (c *control) serve() error {
	c.idle = time.AfterFunc(firstClient, c.leave)
	for {
		s, err := c.accept()
		c.mu.Lock()
		if err != nil {
			over := c.over
			c.mu.Unlock()
			if over {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		if c.over || c.clients >= maxClients || !c.own(s) {
			c.mu.Unlock()
			s.Close()
			continue
		}
		c.idle.Stop()
		c.clients++
		c.mu.Unlock()
		go c.client(s)
	}
}

func (c *control) accept() (*sock.Socket, error) {
	fd := -1
	err := c.listener.In(func(listener int) (err error) {
		fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.ECONNABORTED {
			err = unix.EINTR
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return sock.New(fd)
}

// own tells whether a client is a process of this user, or root's.
func (c *control) own(s *sock.Socket) bool {
	var uid uint32
	err := s.Now(func(fd int) error {
		peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			uid = peer.Uid
		}
		return err
	})
	return err == nil && (uid == 0 || uid == c.uid)
}

// leave ends the program: nobody can connect from now on.
func (c *control) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients == 0 {
		c.over = true
		c.listener.Close()
	}
}

// client serves one connection.
func (c *control) client(s *sock.Socket) {
	owner := c.ports.NewOwner()
	defer func() {
		c.ports.Leave(owner)
		s.Close()
		c.mu.Lock()
		c.clients--
		c.mu.Unlock()
		c.leave()
	}()
	if !c.send(s, netcontrol.Hello{Version: version.String(), PID: os.Getpid()}, true) {
		return
	}
	packet := make([]byte, 4<<10)
	for {
		data, err := next(s, &packet)
		if err != nil || len(data) == 0 {
			return
		}
		var r netcontrol.Request
		var a netcontrol.Answer
		if err := json.Unmarshal(data, &r); err != nil {
			a.Error = "the request: " + err.Error()
		} else if err := c.carryOut(owner, r, &a); err != nil {
			a = netcontrol.Answer{Error: err.Error(), Errno: int(sock.Errno(err))}
		}
		if !c.send(s, a, false) {
			return
		}
	}
}

// next waits for a packet, in a buffer that grows only for the largest.
func next(s *sock.Socket, packet *[]byte) (data []byte, err error) {
	err = s.In(func(fd int) error {
		size, _, err := unix.Recvfrom(fd, *packet, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err != nil {
			return err
		}
		if size > netcontrol.MaxPacket {
			return unix.EMSGSIZE
		}
		if size > len(*packet) {
			*packet = make([]byte, netcontrol.MaxPacket)
		}
		n, err := unix.Read(fd, *packet)
		data = (*packet)[:max(n, 0)]
		return err
	})
	return data, err
}

func (c *control) carryOut(owner ports.Owner, r netcontrol.Request, a *netcontrol.Answer) (err error) {
	if len(r.Ports) > netcontrol.MaxPorts {
		return fmt.Errorf("%d ports at a time; %d is the most", len(r.Ports), netcontrol.MaxPorts)
	}
	switch r.Do {
	case netcontrol.Publish:
		a.Ports, err = c.ports.Publish(owner, r.Ports)
	case netcontrol.Withdraw:
		c.ports.Withdraw(owner, r.Ports)
	case netcontrol.List:
		a.Ports = c.ports.List(r.From, netcontrol.MaxPorts)
	default:
		err = fmt.Errorf("no request %q", r.Do)
	}
	return err
}

// send sends a packet, the first one with the namespaces.
func (c *control) send(s *sock.Socket, what any, namespaces bool) bool {
	data, err := json.Marshal(what)
	if err != nil {
		return false
	}
	var rights []byte
	if namespaces {
		rights = unix.UnixRights(int(c.user.Fd()), int(c.network.Fd()))
	}
	_ = s.SetDeadline(time.Now().Add(firstClient))
	defer s.SetDeadline(time.Time{})
	return s.Out(func(fd int) error { return unix.Sendmsg(fd, data, rights, nil, unix.MSG_NOSIGNAL) }) == nil
}
