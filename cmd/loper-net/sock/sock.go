// Package sock has nonblocking sockets that goroutines wait for. A goroutine that waits has no buffer in its hands, so that
// thousands of idle connections cost little.
package sock

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a nonblocking socket of any kind.
type Socket struct {
	f   *os.File
	raw syscall.RawConn
}

// New takes a nonblocking socket over, also when it fails.
func New(fd int) (*Socket, error) {
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Socket{f, raw}, nil
}

// Open makes a socket in this process's network namespace.
func Open(domain, kind, protocol int) (*Socket, error) {
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return New(fd)
}

// Close ends all who wait with os.ErrClosed.
func (s *Socket) Close() error { return s.f.Close() }

// SetDeadline sets when waiting ends with os.ErrDeadlineExceeded.
func (s *Socket) SetDeadline(t time.Time) error { return s.f.SetDeadline(t) }

// In calls f until it has something else than EAGAIN, and waits until there is something to read in between.
func (s *Socket) In(f func(fd int) error) error { return wait(s.raw.Read, f) }

// Out is the same for room to write.
func (s *Socket) Out(f func(fd int) error) error { return wait(s.raw.Write, f) }

// Now calls f once.
func (s *Socket) Now(f func(fd int) error) (err error) {
	if closed := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

func wait(ready func(func(uintptr) bool) error, f func(fd int) error) (err error) {
	over := ready(func(fd uintptr) bool {
		for {
			if err = f(int(fd)); err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if over != nil && !errors.Is(over, os.ErrDeadlineExceeded) {
		return os.ErrClosed // the runtime's own error for that has no name
	}
	if over != nil {
		return over
	}
	return err
}

// Readable waits until there is something to read, or the end.
func (s *Socket) Readable() error { return s.In(ready(unix.POLLIN)) }

// Writable waits until there is room to write, or nobody to read it.
func (s *Socket) Writable() error { return s.Out(ready(unix.POLLOUT)) }

// ready asks the kernel each time: a notice that came before the wait is lost.
func ready(events int16) func(fd int) error {
	return func(fd int) error {
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: events}}, &unix.Timespec{}, nil)
		if err == nil && n == 0 {
			err = unix.EAGAIN
		}
		return err
	}
}

// Read reads, and waits if it must.
func (s *Socket) Read(p []byte) (n int, err error) {
	err = s.In(func(fd int) (err error) {
		n, err = Read(fd, p)
		return err
	})
	if err == nil && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// Write writes all, and waits if it must.
func (s *Socket) Write(p []byte) error {
	for len(p) > 0 {
		err := s.Out(func(fd int) error {
			n, err := Send(fd, p)
			p = p[n:]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Connect connects, and waits until it has succeeded or failed.
func (s *Socket) Connect(to netip.AddrPort) error {
	err := s.Now(func(fd int) error { return unix.Connect(fd, Address(to)) })
	if err != unix.EINPROGRESS {
		return err
	}
	if err := s.Writable(); err != nil {
		return err
	}
	return s.Now(func(fd int) error {
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		return err
	})
}

// CloseWrite sends the end of what is written.
func (s *Socket) CloseWrite() error {
	return s.Now(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

// Reset closes a TCP connection so that its peer sees that it has not ended well.
func (s *Socket) Reset() error {
	_ = s.Now(func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	return s.Close()
}

// KeepAlive finds out, within some minutes, that the peer of an idle connection is gone.
func (s *Socket) KeepAlive() {
	_ = s.Now(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) })
}

// NoDelay sends what is written at once.
func (s *Socket) NoDelay() {
	_ = s.Now(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) })
}

// Address is an address and port as system calls take them.
func Address(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// AddrPort is what a system call returned; invalid if it is not of the internet.
func AddrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(s.Addr), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// Errno is the kernel's reason in an error, or 0.
func Errno(err error) unix.Errno {
	var errno unix.Errno
	errors.As(err, &errno)
	return errno
}
