package netcontrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Client is a connection to loper-net. It is not for several goroutines at a
// time. Its descriptor may be handed to another process, which then holds what
// was published: see File and NewClient.
type Client struct {
	Hello Hello
	// User and Network are the namespaces that the program serves; nil in a
	// client that NewClient made.
	User, Network *os.File

	sock *os.File
}

// patience is how long an answer may take, in seconds.
const patience = 20

// Dial connects to the program whose socket is in dir. The error is ErrEnded
// when there is none.
func Dial(dir string) (*Client, error) {
	fd, err := socketIn(dir, unix.Connect)
	switch {
	case errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT):
		return nil, ErrEnded
	case err != nil:
		return nil, fmt.Errorf("connect to loper-net at %s/%s: %w", dir, SocketFile, err)
	}
	c := NewClient(os.NewFile(uintptr(fd), SocketFile))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience})
	if err := c.greet(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// NewClient is a client on a connection that was greeted already, in this
// process or another one.
func NewClient(connection *os.File) *Client { return &Client{sock: connection} }

// File is the connection.
func (c *Client) File() *os.File { return c.sock }

// Close ends the connection, and with its last descriptor what was published on it.
func (c *Client) Close() error {
	for _, f := range []*os.File{c.User, c.Network} {
		if f != nil {
			f.Close()
		}
	}
	return c.sock.Close()
}

func (c *Client) greet() error {
	data, fds, err := receive(int(c.sock.Fd()))
	if err != nil {
		return err
	}
	if len(fds) == 2 {
		c.User, c.Network = os.NewFile(uintptr(fds[0]), "user namespace"), os.NewFile(uintptr(fds[1]), "network namespace")
	} else {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	if err := json.Unmarshal(data, &c.Hello); err != nil {
		return fmt.Errorf("loper-net's greeting: %w", err)
	}
	if c.Hello.Error != "" {
		return fmt.Errorf("loper-net: %s", c.Hello.Error)
	}
	if c.User == nil {
		return errors.New("loper-net's greeting came without its namespaces")
	}
	return nil
}

// Publish publishes ports, all or none, and returns them with the numbers that
// were chosen. When the host refused one, the error wraps its reason, as
// unix.EADDRINUSE.
func (c *Client) Publish(ports ...Port) (published []Port, err error) {
	for begin := 0; begin < len(ports); begin += MaxPorts {
		a, err := c.ask(Request{Do: Publish, Ports: ports[begin:min(begin+MaxPorts, len(ports))]})
		if err != nil {
			return nil, errors.Join(err, c.Withdraw(published...))
		}
		published = append(published, a.Ports...)
	}
	return published, nil
}

// Withdraw takes ports back. Connections that are open stay.
func (c *Client) Withdraw(ports ...Port) error {
	for begin := 0; begin < len(ports); begin += MaxPorts {
		if _, err := c.ask(Request{Do: Withdraw, Ports: ports[begin:min(begin+MaxPorts, len(ports))]}); err != nil {
			return err
		}
	}
	return nil
}

// List returns what all of the user's containers have published.
func (c *Client) List() ([]Port, error) {
	var all []Port
	for {
		a, err := c.ask(Request{Do: List, From: len(all)})
		all = append(all, a.Ports...)
		if err != nil || len(a.Ports) < MaxPorts {
			return all, err
		}
	}
}

func (c *Client) ask(r Request) (a Answer, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	fd := int(c.sock.Fd())
	if err := retry(func() error { return unix.Sendmsg(fd, data, nil, nil, unix.MSG_NOSIGNAL) }); err != nil {
		if err == unix.EPIPE || err == unix.ECONNRESET {
			return a, ErrEnded
		}
		return a, os.NewSyscallError("sendmsg", err)
	}
	if data, _, err = receive(fd); err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("loper-net's answer: %w", err)
	}
	switch {
	case a.Errno != 0:
		return a, fmt.Errorf("%s: %w", a.Error, unix.Errno(a.Errno))
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}

// receive waits for a packet and what comes with it.
func receive(fd int) (data []byte, fds []int, err error) {
	data, control := make([]byte, MaxPacket), make([]byte, unix.CmsgSpace(2*4))
	var n, oob, flags int
	err = retry(func() error {
		n, oob, flags, _, err = unix.Recvmsg(fd, data, control, unix.MSG_CMSG_CLOEXEC)
		return err
	})
	switch {
	case err == unix.ECONNRESET || err == nil && n == 0:
		return nil, nil, ErrEnded
	case err == unix.EAGAIN:
		return nil, nil, fmt.Errorf("loper-net says nothing for %d seconds", patience)
	case err != nil:
		return nil, nil, os.NewSyscallError("recvmsg", err)
	}
	messages, _ := unix.ParseSocketControlMessage(control[:oob])
	for i := range messages {
		more, _ := unix.ParseUnixRights(&messages[i])
		fds = append(fds, more...)
	}
	if flags&unix.MSG_TRUNC != 0 {
		return nil, fds, fmt.Errorf("a packet of loper-net has more than %d bytes", MaxPacket)
	}
	return data[:n], fds, nil
}

// socketIn makes a socket and binds or connects it to the one in dir. An
// address has room for 108 bytes; the way through a descriptor is short.
func socketIn(dir string, use func(int, unix.Sockaddr) error) (int, error) {
	d, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(d)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	name := "/proc/self/fd/" + strconv.Itoa(d) + "/" + SocketFile
	if err := retry(func() error { return use(fd, &unix.SockaddrUnix{Name: name}) }); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
