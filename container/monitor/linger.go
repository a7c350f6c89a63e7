package monitor

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// linger serves the clients that have not got everything, as long as they are
// connected, and waits for those that remove the container. Nothing else waits
// for them: the container has ended and may be started again meanwhile.
func (s *server) linger() {
	for _, c := range s.clients {
		s.readAhead(c)
	}
	for {
		s.clients = slices.DeleteFunc(s.clients, func(c *client) bool {
			done := c.mute || s.catchUp(c) && !c.removes
			if done {
				unix.Close(c.fd)
			}
			return done
		})
		if len(s.clients) == 0 {
			return
		}
		fds := make([]unix.PollFd, len(s.clients))
		for i, c := range s.clients {
			fds[i] = unix.PollFd{Fd: int32(c.fd), Events: unix.POLLIN}
			if c.next < len(s.tail) {
				fds[i].Events |= unix.POLLOUT
			}
		}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return
		}
		for _, c := range s.clients {
			s.readAhead(c)
		}
	}
}

// readAhead takes what a client has sent. Only its wish to remove the container
// still matters.
func (s *server) readAhead(c *client) {
	for {
		n, err := unix.Read(c.fd, s.input)
		switch {
		case err == unix.EINTR, err == unix.ECONNRESET:
		case err != nil:
			return
		case n == 0:
			c.mute = true
			return
		case s.input[0] == packet.Removes:
			c.removes = true
		}
	}
}

// autoRemove becomes the command that removes the container, unless a client
// has done that, or somebody has started it again.
func (s *server) autoRemove(c *Config) {
	if len(c.AutoRemove) == 0 {
		return
	}
	if _, err := os.Lstat(filepath.Join(s.dir, ConfigFile)); err != nil {
		return
	}
	fd, err := unix.Open(filepath.Join(c.RunDir, LockFile), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		// Shared, as those hold it for a moment who only look.
		err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
		unix.Close(fd)
		if err == unix.EWOULDBLOCK {
			return
		}
	}
	syscall.Exec(c.AutoRemove[0], c.AutoRemove, cleanEnv())
}
