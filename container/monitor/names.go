package monitor

import (
	"time"

	"golang.org/x/sys/unix"

	"loper.run/network/dns"
)

// The resolver of a container's names is a part of the monitor: it has an epoll
// set of its own, which is one descriptor in the monitor's.

// openNames begins to answer, if there is somebody to ask. A container without
// names runs on.
func (s *server) openNames() {
	if s.names.UDP < 0 {
		return
	}
	r, err := dns.New(s.names)
	if err != nil {
		return
	}
	s.resolver = r
	s.watch(&source{fd: r.Fd()}, unix.EPOLLIN)
	s.openGuard()
}

func (s *server) closeNames() {
	if s.resolver != nil {
		s.resolver.Close()
		s.resolver = nil
	}
}

// namesFd is what is waited for; -1: nothing.
func (s *server) namesFd() int {
	if s.resolver == nil {
		return -1
	}
	return s.resolver.Fd()
}

// namesDue is when the resolver has something to do though nothing came; zero:
// never.
func (s *server) namesDue() time.Time {
	if s.resolver == nil {
		return time.Time{}
	}
	return s.resolver.Next()
}

// suspendNames prepares the resolver for the monitor's replacement.
func (s *server) suspendNames() {
	if s.resolver == nil {
		return
	}
	fds, list, err := s.resolver.Suspend()
	if err != nil {
		return // what is on its way is lost, and asked again
	}
	s.names, s.asking = fds, list
}

// resumeNames: there was no replacement.
func (s *server) resumeNames() {
	if s.names.Pending >= 0 {
		unix.Close(s.names.Pending)
	}
	s.names.Pending, s.asking = -1, nil
}
