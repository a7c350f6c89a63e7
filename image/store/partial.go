package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

// PartialKeep is how long an interrupted download waits to be resumed.
const PartialKeep = 7 * 24 * time.Hour

// Partial is the kept part of a download. It isn't verified: whoever resumes it
// feeds Prefix to the same hash and unpacker as the rest. One goroutine may
// write while others read.
type Partial struct {
	f     *os.File
	path  string
	place string // of the blob that it becomes
	size  atomic.Int64
	// prefix is the size at the time it was opened.
	prefix int64
}

// Partial opens the download of d, which the caller alone then holds; it waits
// for whoever has it. Take the layer (BeginLayer) first: who waited finds it present.
func (s *Store) Partial(ctx context.Context, d oci.Digest) (*Partial, error) {
	if d.IsZero() {
		return nil, errors.New("open download: it has no digest")
	}
	path := s.path(partialDir, flat(d))
	f, err := hold(ctx, path, os.O_RDWR|os.O_CREATE, unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("open download: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open download: %w", err)
	}
	p := &Partial{f: f, path: path, place: s.place(blobDir, d), prefix: st.Size()}
	p.size.Store(st.Size())
	return p, nil
}

// Size is the number of bytes kept.
func (p *Partial) Size() int64 { return p.size.Load() }

// Prefix reads the bytes that were kept when the partial was opened.
func (p *Partial) Prefix() io.Reader { return io.NewSectionReader(p.f, 0, p.prefix) }

// ReadAt reads kept bytes.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) { return p.f.ReadAt(b, off) }

// File is the open file, of which only kept bytes mean something.
func (p *Partial) File() *os.File { return p.f }

// Write appends.
func (p *Partial) Write(b []byte) (int, error) {
	n, err := p.f.WriteAt(b, p.size.Load())
	p.size.Add(int64(n))
	return n, err
}

// Reset forgets all bytes, which have proved wrong.
func (p *Partial) Reset() error {
	p.prefix = 0
	p.size.Store(0)
	return p.f.Truncate(0)
}

// Publish makes a complete download, whose digest the caller has verified, a
// blob, and closes it. Name and content are durable once the file
// system was synced: publish before Staging.Commit, which does that.
func (p *Partial) Publish() error {
	if err := makeDir(filepath.Dir(p.place)); err != nil {
		return fmt.Errorf("publish download: %w", err)
	}
	if err := os.Rename(p.path, p.place); err != nil {
		return fmt.Errorf("publish download: %w", err)
	}
	return p.Close()
}

// Remove throws a download away, and closes it.
func (p *Partial) Remove() error {
	err := os.Remove(p.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, p.Close())
}

// Close keeps the bytes for the next try and lets others have them. It is
// harmless after Remove or Close.
func (p *Partial) Close() error {
	if err := p.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
