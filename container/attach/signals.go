package attach

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// watcher makes signals readable from a descriptor, so that poll can wait for
// them together with the rest.
type watcher struct {
	ch   chan os.Signal
	r, w *os.File
	done chan struct{}
}

// watch begins to catch signals: those of the terminal's size and of the shell's
// job control, and those that would end the program before its terminal is
// restored. Without a terminal all of them are the caller's.
func watch(tty bool) (*watcher, error) {
	if !tty {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &watcher{ch: make(chan os.Signal, 16), r: r, w: w, done: make(chan struct{})}
	signal.Notify(s.ch, syscall.SIGWINCH, syscall.SIGCONT,
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		defer close(s.done)
		for sig := range s.ch {
			s.w.Write([]byte{byte(sig.(syscall.Signal))})
		}
	}()
	return s, nil
}

func (s *watcher) fd() int {
	if s == nil {
		return -1
	}
	return int(s.r.Fd())
}

func (s *watcher) stop() {
	if s == nil {
		return
	}
	signal.Stop(s.ch)
	close(s.ch)
	s.r.Close()
	<-s.done
	s.w.Close()
}

// signalled handles the signals that have come.
func (st *stream) signalled() error {
	var sigs [16]byte
	n, err := unix.Read(st.sig.fd(), sigs[:])
	if err != nil {
		return nil
	}
	for _, b := range sigs[:n] {
		switch sig := syscall.Signal(b); sig {
		case syscall.SIGCONT:
			st.term.again()
			st.resize()
		case syscall.SIGWINCH:
			st.resize()
		default:
			return SignalError{Signal: sig}
		}
	}
	return nil
}

// resize gives the container's terminal the size of ours.
func (st *stream) resize() {
	for _, f := range []any{st.In, st.Out} {
		file, ok := f.(*os.File)
		if !ok {
			continue
		}
		if rows, cols, ok := Size(file); ok && rows > 0 && cols > 0 {
			st.push(packet.AppendResize(nil, rows, cols))
			return
		}
	}
}
