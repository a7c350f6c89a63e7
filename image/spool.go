package image

import (
	"context"
	"io"
	"os"
	"sync"
)

// spool joins a download to its unpacking through the partial file: the
// download runs ahead as far as the network lets it, and what it wrote is still
// in the page cache when it is read back.
type spool struct {
	file *os.File

	mu   sync.Mutex
	more sync.Cond
	size int64 // bytes from the beginning on, without a gap
	done bool  // nothing follows
	err  error // why not
}

func newSpool(file *os.File, size int64) *spool {
	s := &spool{file: file, size: size}
	s.more.L = &s.mu
	return s
}

// grow tells readers how far the file goes by now.
func (s *spool) grow(size int64) {
	s.mu.Lock()
	grown := size > s.size
	s.size = max(s.size, size)
	s.mu.Unlock()
	if grown {
		s.more.Broadcast()
	}
}

// finish ends the stream; with an error the reader gets that in place of io.EOF.
func (s *spool) finish(err error) {
	s.mu.Lock()
	if !s.done {
		s.done, s.err = true, err
	}
	s.mu.Unlock()
	s.more.Broadcast()
}

func (s *spool) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// wait returns how far the file may be read from off on, once there is
// something to read.
func (s *spool) wait(off int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.size <= off && !s.done {
		s.more.Wait()
	}
	if s.size > off {
		return s.size, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	return 0, io.EOF
}

// spoolReader reads a spool from the beginning.
type spoolReader struct {
	ctx context.Context
	s   *spool
	off int64
}

func (r *spoolReader) Read(b []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	end, err := r.s.wait(r.off)
	if err != nil {
		return 0, err
	}
	if n := end - r.off; n < int64(len(b)) {
		b = b[:n]
	}
	n, err := r.s.file.ReadAt(b, r.off)
	r.off += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}
