package ports

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"loper.run/cmd/loper-net/inside"
	"loper.run/cmd/loper-net/sock"

	"golang.org/x/sys/unix"
)

// serve accepts connections until the socket is closed.
func (e *entry) serve(listener *sock.Socket) {
	for {
		var from unix.Sockaddr
		fd := -1
		err := listener.In(func(l int) (err error) {
			fd, from, err = unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return err
		})
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM:
			e.table.logf("%s: %v", describe(e.port), err)
			time.Sleep(100 * time.Millisecond) // until somebody has ended; they wait in the backlog
			continue
		case err != nil: // of that one connection
			continue
		}
		s, err := sock.New(fd)
		if err != nil {
			continue
		}
		if !e.take() {
			s.Reset()
			continue
		}
		go func() {
			defer e.drop()
			e.carry(s, sock.AddrPort(from))
		}()
	}
}

// carry connects a client with the container. If that refuses, the client's connection is reset.
func (e *entry) carry(client *sock.Socket, from netip.AddrPort) {
	client.NoDelay()
	client.KeepAlive()
	_ = client.SetDeadline(time.Time{})
	container, err := e.reach(inside.TCP, from)
	if err != nil {
		client.Reset()
		return
	}
	container.NoDelay()
	container.KeepAlive()
	done := make(chan struct{})
	direction := func(to, from *sock.Socket) {
		if err := pump(to, from); err != nil {
			to.Reset()
			from.Reset()
		}
	}
	go func() {
		defer close(done)
		direction(container, client)
	}()
	direction(client, container)
	<-done
	client.Close()
	container.Close()
}
