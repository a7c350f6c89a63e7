package firewall

import (
	"fmt"

	"loper.run/internal/flock"
)

// Healed is what Heal found and did.
type Healed struct {
	For     int  // so many containers' tables were put back
	Amended bool // others' rules were made let our packets through again
}

// String is it in words, "" for nothing.
func (h Healed) String() string {
	switch {
	case h.For > 0:
		return fmt.Sprintf("somebody deleted rules of the container networks: put back for %d running containers", h.For)
	case h.Amended:
		return "the host's firewall was changed: the rules that let containers through it are put back"
	}
	return ""
}

// Heal puts back what somebody took away of the tables while containers run, and
// of the rules in others' chains. It looks first, waits for nobody, and fails with
// flock.ErrHeld while somebody else works on the rules. If gone says so once it is
// its turn, it leaves everything as it is.
func (f *Firewall) Heal(gone func() bool) (done Healed, err error) {
	s, err := f.beginWith(flock.TryExclusive)
	if err != nil {
		return done, err
	}
	defer s.end()
	if gone() {
		return done, nil
	}
	whole, err := s.whole()
	if err != nil {
		return done, err
	}
	if !whole {
		if done.For, err = s.putBack(""); done.For == 0 || err != nil {
			return Healed{}, err
		}
	}
	found, err := s.accommodate(nil)
	done.Amended = found.Amended
	return done, err
}

// putBack makes the tables anew if containers run that need them, and tells how
// many. One that is starting, "": none, gets what it needs when it is connected.
func (s *session) putBack(starting string) (connected int, err error) {
	all, err := s.running()
	if err != nil {
		return 0, err
	}
	for _, sb := range all {
		if len(bridged(sb)) > 0 && sb.Container != starting {
			connected++
		}
	}
	if connected == 0 {
		return 0, nil
	}
	return connected, s.rebuild(nil)
}
