package monitor

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/network"
)

// queueUp joins the others, if the container has networks.
func (s *server) queueUp() {
	h := &s.heal
	if h.queue.fd >= 0 || s.names.UDP < 0 || network.HostGone() || !s.findStore() {
		return
	}
	h.queue.fd, _ = flock.Queue(filepath.Join(h.store.Dir(""), "firewall.queue"))
	s.openHealer()
	if h.queue.fd >= 0 {
		s.takeTurn()
	}
}

func (s *server) findStore() bool {
	c, err := s.configure()
	if err != nil || c.Networks == nil {
		return false
	}
	s.heal.store = c.Networks.store()
	return true
}

// openHealer waits for what there is to wait for, also after a replacement.
func (s *server) openHealer() {
	h := &s.heal
	switch {
	case h.turn < 0:
		s.watch(&h.queue, unix.EPOLLET)
	case h.due.IsZero():
		s.watch(&h.ears, unix.EPOLLIN)
	}
}

// closeHealer passes the turn on.
func (s *server) closeHealer() {
	h := &s.heal
	s.shut(&h.queue)
	if h.turn >= 0 {
		unix.Close(h.turn)
		h.turn = -1
	}
	if fd := h.ears.fd; fd >= 0 && h.over == nil {
		s.watch(&h.ears, 0)
		h.ears.fd = -1
		go unix.Close(fd) // takes its time
	}
}

// takeTurn takes the turn if it is free, and tries once more when it is not:
// whoever was faster may have ended before the others could see it.
func (s *server) takeTurn() {
	h := &s.heal
	turn, err := flock.Turn(h.queue.fd)
	h.tried = !h.tried && err != nil
	h.due = time.Time{}
	switch {
	case err == nil:
		h.turn = turn
		s.watch(&h.queue, 0)
		s.look() // nobody heard anything until now
	case h.tried:
		h.due = time.Now().Add(minRest * time.Second)
	}
}

// turnFree is called when who had the turn has ended.
func (s *server) turnFree() {
	s.heal.tried = false
	s.takeTurn()
}
