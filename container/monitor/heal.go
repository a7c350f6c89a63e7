package monitor

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
	"loper.run/internal/flock"
	"loper.run/internal/netns"
	"loper.run/internal/nft"
	"loper.run/network"
	"loper.run/network/firewall"
	"loper.run/network/kernel"
)

// healer is the monitor's part in keeping the host's rules for containers whole.
// Of all monitors one at a time has the turn: it alone hears when rules change,
// and looks then whether something has to be put back. The others wait for its
// end, and never look.
type healer struct {
	queue source // hung up when the turn is free; fd -1: this monitor takes no part
	turn  int    // -1: it is another one's
	ears  source // hears of changes; not waited for as long as a look is due
	store *network.Store
	gone  atomic.Bool // the container has ended

	due   time.Time // of the next attempt; zero: none
	since time.Time // the first change that was not looked at yet
	tried bool      // in vain to get the turn

	over  chan looked // of the look under way; nil: none
	bell  source      // rings at its end
	looks int         // so often something was looked at

	next         time.Time     // no look before
	mended, said time.Time     // when something was put back, and when that was told
	rest         int           // so many seconds nothing is looked at after that
	held         time.Duration // how long to wait for who works on the rules
}

// looked is how a look ended.
type looked struct {
	ears int
	done firewall.Healed
	err  error
}

const (
	// quiet is how long nobody changes anything before it is looked at, and
	// maxQuiet how long that is waited for.
	quiet, maxQuiet = 100 * time.Millisecond, time.Second
	// minRest is the time between two looks. After something was put back that is
	// away again within soon it doubles, up to maxRest.
	minRest, maxRest = 1, 300 // s
	soon             = 5 * time.Second
)

func noHealer() healer {
	return healer{queue: source{fd: -1}, turn: -1, ears: source{fd: -1}, bell: source{fd: -1}}
}

// hear is called when something was changed.
func (s *server) hear() {
	h := &s.heal
	nft.Heard(h.ears.fd)
	s.watch(&h.ears, 0)
	h.since = time.Now()
	h.due = h.since.Add(quiet)
	if h.next.After(h.due) {
		h.due = h.next
	}
}

// tend does what is due.
func (s *server) tend(now time.Time) {
	h := &s.heal
	switch {
	case h.turn < 0:
		s.takeTurn()
	case h.ears.fd >= 0 && now.Sub(h.since) < maxQuiet && nft.Heard(h.ears.fd):
		h.due = now.Add(quiet)
	default:
		s.look()
	}
}

// look looks at the rules beside everything else, since who changes many of them
// keeps others waiting.
func (s *server) look() {
	h := &s.heal
	if h.store == nil && !s.findStore() {
		h.due = time.Now().Add(maxRest * time.Second)
		return
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		h.due = time.Now().Add(maxRest * time.Second)
		return
	}
	h.due = time.Time{}
	h.looks++
	h.bell.fd = bell
	s.watch(&h.bell, unix.EPOLLIN)
	ears, over := h.ears.fd, make(chan looked, 1)
	h.over = over
	go func() {
		l := looked{ears: ears}
		if l.ears < 0 {
			l.ears, l.err = listenForChanges()
		}
		if l.err == nil {
			nft.Heard(l.ears)
			l.done, l.err = kernel.Heal(h.store, h.gone.Load)
		}
		over <- l
		unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 1})
	}()
}

func listenForChanges() (int, error) {
	fds, err := netns.Open(network.HostNamespace, netns.Netlink(unix.NETLINK_NETFILTER))
	if err != nil {
		return -1, err
	}
	if err := nft.Listen(fds[0]); err != nil {
		unix.Close(fds[0])
		return -1, err
	}
	return fds[0], nil
}

// looked is called at the end of a look.
func (s *server) looked() {
	h := &s.heal
	l := <-h.over
	h.over = nil
	s.shut(&h.bell)
	h.ears.fd = l.ears
	now := time.Now()
	if errors.Is(l.err, flock.ErrHeld) {
		h.held = min(max(2*h.held, quiet), 10*time.Second)
		h.due = now.Add(h.held)
		return
	}
	h.held = 0
	h.next = now.Add(minRest * time.Second)
	switch text := l.done.String(); {
	case l.err != nil:
		h.tire(now, true, "the rules of container networks could not be looked after: "+l.err.Error(), s.note)
		h.due = h.next
		return
	case text != "":
		h.tire(now, h.since.Sub(h.mended) < soon, text, s.note)
	case now.Sub(h.mended) >= soon:
		h.rest = 0
	}
	s.watch(&h.ears, unix.EPOLLIN)
}

// tire is called when something was put back, or could not be. Who deletes it each
// time is answered ever more seldom.
func (h *healer) tire(now time.Time, again bool, text string, note func(string)) {
	rest := minRest
	if again {
		rest = min(max(2*h.rest, minRest), maxRest)
	}
	if rest > minRest {
		text += " (again and again; next in " + strconv.Itoa(rest) + " s)"
	}
	if rest > h.rest || now.Sub(h.said) > time.Minute {
		h.said = now
		note(text)
	}
	h.rest, h.mended, h.next = rest, now, now.Add(time.Duration(rest)*time.Second)
}

// worn: looks have left so much that a new program would be smaller than this one,
// in which no garbage is collected.
func (h *healer) worn(now time.Time, atRest bool) bool {
	calm := h.due.IsZero() || h.due.Sub(now) > 2*time.Second
	return h.looks >= 8 || atRest && calm && h.looks > 0
}

// note writes a line into the container's log.
func (s *server) note(text string) {
	s.record(packet.Stderr, []byte("loper: "+text+"\n"))
}
