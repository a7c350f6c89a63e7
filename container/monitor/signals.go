package monitor

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals makes the monitor deaf to what is meant for a terminal's processes.
// SIGTERM goes to the container, as its end is the monitor's. They are caught,
// not ignored: hooks and the removing command must not inherit that.
func signals(pidfd int) {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		for sig := range ch {
			if sig == syscall.SIGTERM {
				unix.PidfdSendSignal(pidfd, unix.SIGTERM, nil, 0)
			}
		}
	}()
}
