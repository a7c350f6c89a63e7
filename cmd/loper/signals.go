package main

import (
	"os"
	"os/signal"
	"syscall"

	"loper.run/container"
)

// proxied are the signals that somebody sends to a command that stands for its
// container. Those that stop the command itself for its shell are not among
// them.
var proxied = [...]os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT,
}

// signals holds the signals that this process got, for its container. A nil
// one leaves them to do here what they usually do.
type signals chan os.Signal

// signals are those of the session, if it passes them on.
func (s *session) signals(ctr *container.Container) signals {
	if !s.sigProxy || ctr.Settings.Terminal {
		return nil
	}
	return make(signals, 64)
}

// hold begins to hold signals: those that come before the container runs wait
// for it. It may be called again.
func (ch signals) hold() {
	if ch != nil {
		signal.Notify(ch, proxied[:]...)
	}
}

// forward passes the signals on for as long as this process lives, which is no
// longer than its session.
func (ch signals) forward(ctr *container.Container) {
	if ch == nil {
		return
	}
	ch.hold()
	go func() {
		for sig := range ch {
			// A container that has just ended needs no signal.
			_ = ctr.Kill(sig.(syscall.Signal))
		}
	}()
}
