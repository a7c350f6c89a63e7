package monitor

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// replaceAfter is how old the container is before the monitor replaces
	// itself: those that end at once never pay for it.
	replaceAfter = time.Second
	// restAfter is how long the container must have been quiet before the
	// monitor gives memory back, which costs it some page faults later.
	restAfter = 250 * time.Millisecond
)

// timeout of the next wait, in milliseconds; -1 is for ever.
func (s *server) timeout() int {
	wait := s.ownTimeout()
	for _, due := range [...]time.Time{s.namesDue(), s.heal.due, s.deafDue()} {
		if !due.IsZero() && (wait < 0 || milliseconds(due) < wait) {
			wait = milliseconds(due)
		}
	}
	return wait
}

// ownTimeout is that of all but the resolver, the healer and the signals.
func (s *server) ownTimeout() int {
	switch {
	case !s.nudge.at.IsZero():
		return milliseconds(s.nudge.at)
	case s.stuck(), s.rested:
		return -1
	case !s.slim && s.heal.over == nil:
		return milliseconds(s.started.Add(replaceAfter))
	}
	return int(restAfter / time.Millisecond)
}

func milliseconds(until time.Time) int {
	return max(0, int(time.Until(until)/time.Millisecond)+1)
}

// stuck: something is on its way, and the next event is that it moves.
func (s *server) stuck() bool { return s.behind > 0 || len(s.pending) > 0 }

// settle does what is due after a wait, busy when it was not in vain.
func (s *server) settle(busy bool) {
	now := time.Now()
	if !s.nudge.at.IsZero() && !now.Before(s.nudge.at) {
		if s.out.fd >= 0 {
			unix.IoctlSetWinsize(s.out.fd, unix.TIOCSWINSZ, &s.nudge.size)
		}
		s.nudge = nudge{}
	}
	if due := s.deafDue(); !due.IsZero() && !now.Before(due) {
		s.growDeaf()
		busy = true
	}
	if due := s.namesDue(); !due.IsZero() && !now.Before(due) {
		s.resolver.Serve()
		busy = true
	}
	if due := s.heal.due; !due.IsZero() && !now.Before(due) {
		s.tend(now)
		busy = true
	}
	s.rested = s.rested && !busy
	if s.ended || s.stuck() || !s.nudge.at.IsZero() {
		return
	}
	if !s.slim && now.Sub(s.started) >= replaceAfter {
		s.queueUp()
		s.replace()
	}
	if s.slim && (s.resolver != nil && s.resolver.Worn(!busy) || s.heal.worn(now, !busy)) {
		s.replace()
	}
	if s.slim && !busy && !s.rested {
		s.rest()
		s.rested = true
	}
}

// rest gives back the memory that the kernel can bring again: the buffers, and
// the pages of the program itself, which it maps anew from its cache when they
// are needed.
func (s *server) rest() {
	unix.Madvise(s.chunk, unix.MADV_DONTNEED)
	s.log.Shrink()
	if s.resolver != nil {
		s.resolver.Rest()
	}
	dropText(s.input)
	unix.Madvise(s.input, unix.MADV_DONTNEED)
}

// dropText forgets the pages of files mapped read-only, read from
// /proc/self/maps with the help of buf.
func dropText(buf []byte) {
	fd, err := unix.Open("/proc/self/maps", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	used := 0
	for used < len(buf) {
		n, err := unix.Read(fd, buf[used:])
		if n <= 0 || err != nil {
			break
		}
		used += n
	}
	for line := range bytes.SplitSeq(buf[:used], []byte{'\n'}) {
		if from, to, ok := parseMap(line); ok {
			unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}

// parseMap reads a line "from-to r-xp offset device inode path" of a maps file;
// ok is true for a file's read-only private pages.
func parseMap(line []byte) (from, to uintptr, ok bool) {
	from, line = hex(line)
	if len(line) == 0 {
		return 0, 0, false
	}
	to, line = hex(line[1:])
	if len(line) < 6 || line[1] != 'r' || line[2] != '-' || line[4] != 'p' {
		return 0, 0, false
	}
	return from, to, line[len(line)-1] != ']' && bytes.IndexByte(line, '/') > 0
}

func hex(p []byte) (v uintptr, rest []byte) {
	for i, b := range p {
		switch {
		case b >= '0' && b <= '9':
			v = v<<4 | uintptr(b-'0')
		case b >= 'a' && b <= 'f':
			v = v<<4 | uintptr(b-'a'+10)
		default:
			return v, p[i:]
		}
	}
	return v, nil
}
