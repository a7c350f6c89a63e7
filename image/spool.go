package image

import (
	"context"
	"io"
	"sync"

	"loper.run/image/store"
)

// spool joins a download to its unpacking through the partial file: the
// download runs ahead as far as the network lets it, and what it wrote is still
// in the page cache when it is read back.
type spool struct {
	part *store.Partial

	mu   sync.Mutex
	more sync.Cond
	size int64 // bytes in the file
	done bool  // nothing follows
	err  error // why not
}

func newSpool(part *store.Partial) *spool {
	s := &spool{part: part, size: part.Size()}
	s.more.L = &s.mu
	return s
}

// Write appends to the file and wakes the reader.
func (s *spool) Write(b []byte) (int, error) {
	n, err := s.part.Write(b)
	s.mu.Lock()
	s.size += int64(n)
	s.mu.Unlock()
	s.more.Broadcast()
	return n, err
}

// finish ends the stream; with an error the reader gets that in place of io.EOF.
func (s *spool) finish(err error) {
	s.mu.Lock()
	s.done, s.err = true, err
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
	n, err := r.s.part.ReadAt(b, r.off)
	r.off += int64(n)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}
