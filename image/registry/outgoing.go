package registry

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// errOutdated ends a body that another has taken the place of.
var errOutdated = errors.New("the content is being sent anew")

// content reads a blob for the requests of its upload and hashes each byte
// once. The last byte is withheld from the request when the digest is wrong, so
// that no registry can complete what is damaged.
type content struct {
	Upload

	mu     sync.Mutex
	body   *body     // that is being read
	sum    hash.Hash // of the first hashed bytes
	hashed int64
	bad    error
}

func newContent(b Upload) *content { return &content{Upload: b, sum: b.Digest.Hash()} }

// open returns n bytes from an offset on.
func (s *content) open(from, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from > s.hashed {
		return nil, fmt.Errorf("blob %s: to go on at byte %d, only %d were read", s.Digest, from, s.hashed)
	}
	s.drop()
	r, err := s.Open(from)
	if err != nil {
		return nil, err
	}
	s.body = &body{s: s, r: r, off: from, left: n}
	return s.body, nil
}

func (s *content) drop() {
	if s.body != nil && s.body.r != nil {
		s.body.r.Close()
		s.body.r = nil
	}
}

func (s *content) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// reach is how many bytes were read at all: no registry can have more.
func (s *content) reach() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hashed
}

// fault is what is wrong with the content itself.
func (s *content) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad
}

// body is the content of one request. The transport may go on reading one
// after its request has failed.
type body struct {
	s    *content
	r    io.ReadCloser // nil: closed, or another body has taken its place
	off  int64
	left int64
}

func (b *body) Read(p []byte) (int, error) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.r == nil:
		return 0, errOutdated
	case s.bad != nil:
		return 0, s.bad
	case b.left == 0:
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.off += int64(n)
	b.left -= int64(n)
	if b.off > s.hashed {
		s.sum.Write(p[int64(n)-(b.off-s.hashed) : n])
		s.hashed = b.off
		if s.hashed == s.Size {
			if bad := s.Digest.Verify(s.sum); bad != nil {
				s.bad = fmt.Errorf("blob %s: %w", s.Digest, bad)
				return 0, s.bad
			}
		}
	}
	if err == io.EOF && b.left > 0 {
		s.bad = fmt.Errorf("blob %s has %d bytes, its descriptor says %d", s.Digest, b.off, s.Size)
		return 0, s.bad
	}
	if err != nil && err != io.EOF {
		s.bad = err
		return 0, err
	}
	if s.Sent != nil && n > 0 {
		s.Sent(b.off)
	}
	return n, nil
}

func (b *body) Close() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.r == nil {
		return nil
	}
	err := b.r.Close()
	b.r = nil
	return err
}
