package monitor

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var deafTo = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}

// catchSignals makes the monitor deaf to the signals of a terminal's processes.
// SIGTERM goes to the container, as its end is the monitor's.
//
// They are not ignored: the programs that the monitor starts would inherit
// that. They are not blocked either: Go unblocks those that end a program in
// every thread it makes.
func catchSignals(pidfd int) {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, deafTo...)
	go func() {
		for sig := range ch {
			if sig == syscall.SIGTERM {
				unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)
			}
		}
	}()
}

// deafAfter is how old the container is before the monitor is deaf: catching
// signals takes Go three threads more, which those that end at once need not
// wait for. Until then a signal ends the monitor and with it the container, as
// during its start.
const deafAfter = 50 * time.Millisecond

// deafDue is when signals are to be caught; zero: they are.
func (s *server) deafDue() time.Time {
	if s.deaf {
		return time.Time{}
	}
	return s.started.Add(deafAfter)
}

// growDeaf catches signals from now on.
func (s *server) growDeaf() {
	s.deaf = true
	catchSignals(s.pidfd)
}

// ignoreSignals is for the moment in which the monitor becomes another program:
// what is caught would kill it, what is ignored stays so until it is caught.
func ignoreSignals() { signal.Ignore(deafTo...) }
