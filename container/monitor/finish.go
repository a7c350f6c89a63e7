package monitor

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// finish reaps the container, tells how it ended, and cleans up after it.
func (s *server) finish() int {
	s.heal.gone.Store(true)
	code := s.reap()
	finished := time.Now()
	c, err := s.configure()
	if err != nil {
		return 1
	}
	s.beginTail()
	s.drain()
	if !s.alone() {
		// Without a pid namespace of its own there may be others.
		s.engine.killAll(c)
		s.awaitAlone()
		s.drain()
	}
	oom := s.engine.oomKilled(c)
	s.writeExit(code, oom, finished)
	s.append(packet.AppendExit(nil, code))
	s.log.Close()

	s.closeNames()
	s.closeHealer()
	s.engine.remove(c)
	s.engine.leave(c)
	for _, name := range []string{SocketFile, StateFile} {
		os.Remove(filepath.Join(c.RunDir, name))
	}
	unix.Close(s.listener)
	unix.Close(s.lock) // from here on the container has ended
	s.linger()
	s.autoRemove(c)
	return 0
}

// reap returns the container's exit code as docker gives it.
func (s *server) reap() int {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(s.pid, &ws, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 255 // somebody else reaped our child
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}

// beginTail turns the packet on its way into the first of the tail. From here
// on output is copied: a slow client must not keep the container from ending.
// What is left is little, no more than the pipes hold.
func (s *server) beginTail() {
	if s.behind > 0 {
		s.tail = [][]byte{append([]byte(nil), s.chunk[:s.used]...)}
	}
	for _, c := range s.clients {
		if !c.behind {
			c.next = len(s.tail)
		}
		c.behind = false
		s.readAhead(c)
	}
	s.behind = 0
}

// append gives a packet to all clients, as soon as they have room.
func (s *server) append(p []byte) {
	if len(s.clients) == 0 {
		return
	}
	s.tail = append(s.tail, append([]byte(nil), p...))
	for _, c := range s.clients {
		s.catchUp(c)
	}
}

// catchUp sends a client what it has room for, and reports whether that was all.
func (s *server) catchUp(c *client) bool {
	for c.next < len(s.tail) && trySend(c, s.tail[c.next]) {
		c.next++
	}
	return c.next == len(s.tail)
}

// drain takes over the output that is there, and no more: another process may
// have the streams open and go on writing.
func (s *server) drain() {
	s.drainOne(&s.out, packet.Stdout)
	s.drainOne(&s.err, packet.Stderr)
	s.hearRefused()
	s.drainOne(&s.guard.told, packet.Stderr)
}

func (s *server) drainOne(src *source, kind byte) {
	if src.fd < 0 {
		return
	}
	left := 64 << 10 // more than a terminal holds
	if !s.tty {
		left, _ = unix.IoctlGetInt(src.fd, unix.TIOCINQ)
	}
	for left > 0 {
		n, err := unix.Read(src.fd, s.chunk[1:packet.MaxSize])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		left -= n
		s.record(kind, s.chunk[1:1+n])
		s.chunk[0] = kind
		s.append(s.chunk[:1+n])
	}
}

// alone reports whether nobody has the other ends of the streams open. Of a
// terminal that is unknown, as we do.
func (s *server) alone() bool {
	return s.tty || hungUp(s.out.fd, 0) && hungUp(s.err.fd, 0)
}

// awaitAlone waits a moment for the processes that were killed.
func (s *server) awaitAlone() {
	for range 20 {
		if s.alone() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func hungUp(fd int, ms int) bool {
	if fd < 0 {
		return true
	}
	p := []unix.PollFd{{Fd: int32(fd)}}
	unix.Poll(p, ms)
	return p[0].Revents&unix.POLLHUP != 0
}
