package attach

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/container/attach/packet"
)

// inputFile is a file that can be waited for: in itself, or a pipe that a
// goroutine fills from it.
func inputFile(in io.Reader) (f *os.File, pump bool, err error) {
	switch in := in.(type) {
	case nil:
		return nil, false, nil
	case *os.File:
		return in, false, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, false, err
	}
	go func() {
		io.Copy(w, in)
		w.Close()
	}()
	return r, true, nil
}

// readInput reads input once and sends it, unless it was the detach keys.
func (st *stream) readInput() error {
	n, err := unix.Read(int(st.in.Fd()), st.typed)
	switch {
	case err == unix.EINTR, err == unix.EAGAIN:
		return nil
	case err != nil && err != unix.EIO: // of a terminal that hung up
		return &os.PathError{Op: "read", Path: st.in.Name(), Err: err}
	}
	p := []byte{packet.Stdin}
	if n <= 0 {
		if p = st.keys.flush(p); len(p) > 1 {
			st.push(p)
		}
		st.push([]byte{packet.EOF})
		st.closeInput()
		return nil
	}
	p, detach := st.keys.feed(p, st.typed[:n])
	if len(p) > 1 {
		st.push(p)
	}
	if detach {
		st.flush()
		return ErrDetached
	}
	return nil
}

func (st *stream) closeInput() {
	if st.pump {
		st.in.Close()
	}
	st.in, st.pump = nil, false
}

// push sends a packet, or queues it while the monitor has no room. The queue is
// short: no input is read while it is not empty.
func (st *stream) push(p []byte) {
	st.queue = append(st.queue, p)
	st.pushed()
}

// pushed sends what it can of the queue. That the monitor is gone is found when
// it is read from, as it may have said more before.
func (st *stream) pushed() {
	for len(st.queue) > 0 {
		err := unix.Send(st.c.fd, st.queue[0], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EAGAIN {
			return
		}
		if err != unix.EINTR {
			st.queue = st.queue[1:]
		}
	}
}

// flush sends the rest of the queue, if the container takes it in a moment.
func (st *stream) flush() {
	fds := []unix.PollFd{{Fd: int32(st.c.fd), Events: unix.POLLOUT}}
	for range 10 {
		if st.pushed(); len(st.queue) == 0 {
			return
		}
		unix.Poll(fds, 100)
	}
}
