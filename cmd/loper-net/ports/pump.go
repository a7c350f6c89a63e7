package ports

import (
	"errors"
	"io"

	"loper.run/cmd/loper-net/sock"

	"golang.org/x/sys/unix"
)

// A pipe holds what is on its way from one socket to the other without its being copied.
type pipe struct{ r, w int }

// pipes are those that are not in use; more than these are closed. A user has a budget for the room in pipes that is shared
// with all of the user's programs.
var pipes = make(chan pipe, 32)

func takePipe() (pipe, error) {
	select {
	case p := <-pipes:
		return p, nil
	default:
	}
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return pipe{fds[0], fds[1]}, err
}

func (p pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// giveBack is for an empty pipe.
func (p pipe) giveBack() {
	select {
	case pipes <- p:
	default:
		p.close()
	}
}

// most is how much goes at once, if a pipe holds so much.
const most = 1 << 20

// little is what is read at first, in bytes: most of what is not a stream has room in it, and needs no pipe.
const little = 2 << 10

// pump carries what comes from one socket to another, and its end. While nothing comes it holds no pipe. What is little is
// copied, and much goes through a pipe: the first time shows which.
func pump(to, from *sock.Socket) error {
	first := make([]byte, little)
	for much := false; ; {
		var n int
		var err error
		if much {
			n, err = splice(to, from)
		} else if n, err = from.Read(first); err == nil {
			err = to.Write(first[:n])
		}
		switch {
		case err == io.EOF:
			return end(to)
		case err != nil:
			return err
		}
		much = n >= little
	}
}

// splice waits for bytes and carries them through a pipe.
func splice(to, from *sock.Socket) (int, error) {
	p, n, err := fill(from)
	if err != nil {
		return 0, err
	}
	if err := p.drain(to, n); err != nil {
		p.close()
		return n, err
	}
	p.giveBack()
	return n, nil
}

// end tells the other side that nothing comes any more.
func end(to *sock.Socket) error {
	if err := to.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return err
	}
	return nil
}

// fill waits for bytes and returns a pipe with them.
func fill(from *sock.Socket) (p pipe, n int, err error) {
	err = from.In(func(fd int) error {
		if p, err = takePipe(); err != nil {
			return err
		}
		var m int64
		m, err = unix.Splice(fd, nil, p.w, nil, most, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if n = int(m); err != nil || n == 0 {
			p.giveBack()
		}
		return err
	})
	if err == nil && n == 0 {
		err = io.EOF
	}
	return p, n, err
}

// drain waits until all of a pipe's bytes are gone.
func (p pipe) drain(to *sock.Socket, n int) error {
	for n > 0 {
		err := to.Out(func(fd int) error {
			m, err := unix.Splice(p.r, nil, fd, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
			n -= int(max(m, 0))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
