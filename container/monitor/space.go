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
	mended    time.Time // when the carrier was started again
}

func noSpace() space { return space{user: -1, net: -1, carrier: source{fd: -1}} }

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
