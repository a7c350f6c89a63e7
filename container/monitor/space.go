package monitor

import (
	"time"

	"golang.org/x/sys/unix"

	"loper.run/network"
	"loper.run/network/usernet"
)

// space is what an ordinary user's monitor holds of the user's networks, so that
// they live as long as its container: the descriptors of a usernet.Space, -1: none.
type space struct {
	user, net int
	carrier   source
	changes   source    // of what the container has of networks, while there is a carrier
	mended    time.Time // when the carrier was started again
}

func noSpace() space {
	return space{user: -1, net: -1, carrier: source{fd: -1}, changes: source{fd: -1}}
}

// hold keeps what the engine gave.
func (s *server) hold(given *usernet.Space) {
	if given == nil {
		return
	}
	fds := append(given.Descriptors(), -1)
	s.space.user, s.space.net, s.space.carrier.fd = fds[0], fds[1], fds[2]
	s.given = given
	given.Use()
}

// retake is hold for a monitor that replaced itself.
func (s *server) retake() {
	if s.space.net >= 0 {
		s.hold(usernet.NewSpace([]int{s.space.user, s.space.net, s.space.carrier.fd}))
	}
}

// openSpace begins to listen to the carrier, and for networks that are connected
// and disconnected: ports lead to another address then.
func (s *server) openSpace() {
	s.watch(&s.space.carrier, unix.EPOLLRDHUP)
	if s.space.carrier.fd >= 0 && s.space.changes.fd < 0 {
		c, err := s.configure()
		if err != nil {
			return
		}
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return
		}
		unix.InotifyAddWatch(fd, c.RunDir, unix.IN_MOVED_TO)
		s.space.changes.fd = fd
	}
	s.watch(&s.space.changes, unix.EPOLLIN)
}

// follow lets ports lead to where the container is now.
func (s *server) follow() {
	unix.Read(s.space.changes.fd, make([]byte, 4096)) // what is left makes it be called again
	c, err := s.configure()
	if err != nil || s.given.Carrier == nil {
		return
	}
	if n, err := network.ReadSandbox(c.RunDir); err == nil {
		_ = usernet.Publish(s.given.Carrier, n) // as in mend
	}
}

// mend starts what carried the container's traffic again, when that has ended
// while the container runs. What ends again at once is left alone.
func (s *server) mend() {
	s.watch(&s.space.carrier, 0)
	s.given.Carrier.Close()
	s.given.Carrier, s.space.carrier.fd = nil, -1
	if time.Since(s.space.mended) < time.Minute {
		return
	}
	s.space.mended = time.Now()
	c, err := s.configure()
	if err != nil || c.Networks == nil {
		return
	}
	n, err := network.ReadSandbox(c.RunDir)
	if err != nil {
		return
	}
	again, err := usernet.Enter(c.Networks.RunRoot, c.ID, usernet.NeedsOf(n))
	if err != nil {
		return
	}
	// The namespaces are the same: we hold them.
	again.User.Close()
	again.Net.Close()
	if again.Carrier == nil {
		return
	}
	s.given.Carrier, s.space.carrier.fd = again.Carrier, int(again.Carrier.File().Fd())
	s.watch(&s.space.carrier, unix.EPOLLRDHUP)
	_ = usernet.Publish(again.Carrier, n) // a port that another took meanwhile is lost
}
