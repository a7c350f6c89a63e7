package layer

import (
	"io"
	"sync"
)

const (
	aheadSize  = 512 << 10
	aheadCount = 4
)

// ahead reads a stream in a goroutine of its own, up to aheadCount chunks
// before its caller, so that decompression and unpacking share the work.
type ahead struct {
	full chan chunk
	free chan []byte
	quit chan struct{}
	done chan struct{}
	once sync.Once
	// rest is what the caller has not yet taken of cur.
	cur, rest []byte
	err       error
}

type chunk struct {
	b   []byte
	n   int
	err error
}

// newAhead starts to read r; end is called when the goroutine has stopped.
func newAhead(r io.Reader, end func()) *ahead {
	a := &ahead{
		full: make(chan chunk, aheadCount),
		free: make(chan []byte, aheadCount),
		quit: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadCount {
		a.free <- nil // made when it is needed: most layers are small
	}
	go func() {
		defer close(a.done)
		defer end()
		a.fill(r)
	}()
	return a
}

func (a *ahead) fill(r io.Reader) {
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			return
		}
		if b == nil {
			b = make([]byte, aheadSize)
		}
		var c chunk
		c.b = b
		for c.n < len(b) && c.err == nil {
			select {
			case <-a.quit:
				return
			default:
			}
			var n int
			n, c.err = r.Read(b[c.n:])
			c.n += n
		}
		a.full <- c // there is room for all chunks
		if c.err != nil {
			return
		}
	}
}

// Read returns what has been read ahead; an error of the stream comes after all its bytes.
func (a *ahead) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.cur != nil {
			a.free <- a.cur
			a.cur = nil
		}
		select {
		case c := <-a.full:
			a.cur, a.rest, a.err = c.b, c.b[:c.n], c.err
		case <-a.quit:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close stops reading ahead and waits until it has stopped.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.quit) })
	<-a.done
	return nil
}
