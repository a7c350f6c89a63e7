package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// socketFD is the process's end of its socket.
const socketFD = 3

// Main is the process in the namespace. It ends when the other end of its socket is closed.
func Main() error {
	if err := hide(); err != nil {
		return err
	}
	text, _, err := receive(socketFD, 0)
	if err != nil {
		return ended(err)
	}
	way, err := prepare(text)
	if err != nil {
		return send(socketFD, []byte(err.Error()), nil)
	}
	if err := send(socketFD, []byte(ok), way); err != nil {
		return err
	}
	for _, fd := range way {
		unix.Close(fd)
	}
	for {
		text, _, err := receive(socketFD, 0)
		if err != nil {
			return ended(err)
		}
		if err := answer(Kind(text[0])); err != nil {
			return err
		}
	}
}

func ended(err error) error {
	if errors.Is(err, errEnded) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return err
}

// prepare makes the way out and the way back, and gives up what only they needed.
func prepare(text string) (way []int, err error) {
	var s Settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, err
	}
	if s.Interface != "" {
		fd, err := wayOut(s)
		if err != nil {
			return nil, fmt.Errorf("make the way out: %w", err)
		}
		way = []int{fd}
	}
	if err := wayBack(); err != nil {
		return nil, fmt.Errorf("make the way back of published ports: %w", err)
	}
	return way, confineSelf()
}

// answer sends sockets of a kind.
func answer(k Kind) error {
	fds := make([]int, 0, batch)
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for range batch {
		fd, err := newSocket(k)
		if err != nil {
			return send(socketFD, []byte(err.Error()), nil)
		}
		fds = append(fds, fd)
	}
	return send(socketFD, []byte(ok), fds)
}

func newSocket(k Kind) (int, error) {
	domain, kind := unix.AF_INET, unix.SOCK_STREAM
	level, transparent := unix.SOL_IP, unix.IP_TRANSPARENT
	if k&V6 != 0 {
		domain, level, transparent = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if k&UDP != 0 {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.SetsockoptInt(fd, level, transparent, 1); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("make a socket transparent", err)
	}
	return fd, nil
}
