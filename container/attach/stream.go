package attach

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// Streams is what a container's streams are connected to on this side.
type Streams struct {
	// In is the container's input; nil: none. Of an *os.File no byte is read
	// that is not sent; of another reader a goroutine reads ahead, which
	// ends at the reader's end.
	In       io.Reader
	Out, Err io.Writer // nil: dropped

	// TTY is true when the container has a terminal. If In is one too, it is
	// in raw mode meanwhile; its size, or else that of Out, is the
	// container's.
	// SIGHUP, SIGINT, SIGQUIT and SIGTERM end the Stream with a SignalError.
	TTY        bool
	DetachKeys []byte // see ParseKeys; empty: none
}

// SignalError is the signal that ended a Stream.
type SignalError struct{ Signal os.Signal }

func (e SignalError) Error() string { return "attach: " + e.Signal.String() }

// Stream connects the streams to the container until it ends. The error is
// ErrDetached, ErrGone, a SignalError or one of reading or writing a stream;
// the container runs on then, or its end is unknown. The terminal's mode is
// restored whatever happens. The connection stays open for Close.
func (c *Client) Stream(s Streams) (Exit, error) {
	st, err := newStream(c, s)
	if err != nil {
		return Exit{}, err
	}
	defer st.close()
	for {
		exit, done, err := st.step()
		if done || err != nil {
			return exit, err
		}
	}
}

// stream is a Stream under way. It is one loop around poll: input waits while
// the monitor has no room for it, and output goes on meanwhile.
type stream struct {
	Streams
	c    *Client
	term *Terminal
	keys detector
	sig  *watcher
	in   *os.File // nil: no input, or its end was reached
	pump bool     // in is ours

	queue [][]byte // packets to send, oldest first
	buf   []byte
	typed []byte
}

func newStream(c *Client, s Streams) (*stream, error) {
	st := &stream{
		Streams: s, c: c, keys: detector{keys: s.DetachKeys},
		buf: make([]byte, packet.MaxSize), typed: make([]byte, packet.MaxData-len(s.DetachKeys)),
	}
	var err error
	if st.in, st.pump, err = inputFile(s.In); err != nil {
		return nil, err
	}
	if st.in != nil {
		st.push([]byte{packet.Stdin}) // this client has an input
	}
	if st.sig, err = watch(s.TTY); err != nil {
		return nil, err
	}
	if !s.TTY {
		return st, nil
	}
	st.resize()
	if in, ok := s.In.(*os.File); ok && in != nil {
		if _, _, isTerm := Size(in); isTerm {
			if st.term, err = MakeRaw(in); err != nil {
				st.close()
				return nil, err
			}
		}
	}
	return st, nil
}

func (st *stream) close() {
	st.term.Restore()
	st.sig.stop()
	st.closeInput()
}

// step waits for something to happen and handles it.
func (st *stream) step() (exit Exit, done bool, err error) {
	fds := []unix.PollFd{{Fd: int32(st.c.fd), Events: unix.POLLIN}, {Fd: int32(st.sig.fd()), Events: unix.POLLIN}, {Fd: -1}}
	if len(st.queue) > 0 {
		fds[0].Events |= unix.POLLOUT
	} else if st.in != nil {
		fds[2] = unix.PollFd{Fd: int32(st.in.Fd()), Events: unix.POLLIN}
	}
	if _, err := unix.Poll(fds, -1); err != nil {
		if err == unix.EINTR {
			return exit, false, nil
		}
		return exit, false, fmt.Errorf("attach: poll: %w", err)
	}
	if fds[1].Revents != 0 {
		if err := st.signalled(); err != nil {
			return exit, false, err
		}
	}
	if fds[0].Revents&unix.POLLOUT != 0 {
		st.pushed()
	}
	if fds[0].Revents&^unix.POLLOUT != 0 {
		if exit, done, err = st.receive(); done || err != nil {
			return exit, done, err
		}
	}
	if fds[2].Revents != 0 {
		err = st.readInput()
	}
	return exit, false, err
}

// receive takes a packet of the monitor.
func (st *stream) receive() (exit Exit, done bool, err error) {
	n, err := unix.Read(st.c.fd, st.buf)
	switch {
	case err == unix.EINTR, err == unix.EAGAIN, err == unix.ECONNRESET:
		// A reset is told first; what the monitor sent follows it.
		return exit, false, nil
	case err != nil || n == 0:
		return exit, false, ErrGone
	}
	data := st.buf[1:n]
	switch st.buf[0] {
	case packet.Stdout:
		err = write(st.Out, data)
	case packet.Stderr:
		err = write(st.Err, data)
	case packet.Exit:
		code, ok := packet.ParseExit(data)
		if !ok {
			return exit, false, fmt.Errorf("attach: exit packet of %d bytes", n)
		}
		return Exit{Code: code}, true, nil
	}
	return exit, false, err // types of a later monitor are skipped
}

func write(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}
