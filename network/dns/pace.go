package dns

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// What is spent on a container's questions is spent outside of its cgroup, and
// so outside of its limits. Of a flood only so much is read, also of what is no
// question.
const (
	slice    = 100 * time.Millisecond
	perSlice = 1000
)

// pace counts the datagrams, connections, reads and questions of a slice of time.
type pace struct {
	begun time.Time
	count int
	full  bool // nobody is listened to until the slice ends
}

// spend counts one, the last of which closes the ears.
func (r *Resolver) spend() {
	if now := time.Now(); now.Sub(r.pace.begun) >= slice && !r.pace.full {
		r.pace.begun, r.pace.count = now, 0
	}
	if r.pace.count++; r.pace.count == perSlice {
		r.pace.full = true
		r.rewatch(r.fds.UDP, 0)
		r.rewatch(r.fds.TCP, 0)
	}
}

// listen opens the ears again when the slice has ended.
func (r *Resolver) listen(now time.Time) {
	if !r.pace.full || now.Before(r.pace.begun.Add(slice)) {
		return
	}
	r.pace = pace{begun: now}
	r.rewatch(r.fds.UDP, unix.EPOLLIN)
	r.rewatch(r.fds.TCP, unix.EPOLLIN)
	for _, c := range slices.Clone(r.conns) {
		r.advance(c)
	}
}
