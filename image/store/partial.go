package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// PartialKeep is how long an interrupted download waits to be resumed.
const PartialKeep = 7 * 24 * time.Hour

// Partial is the kept part of a download: some ranges of a blob's bytes, in a
// file as long as the blob. It isn't verified: who publishes it has hashed all
// of it. Its methods may be called by several goroutines, but for those that
// end it.
type Partial struct {
	f     *os.File
	path  string
	place string // of the blob that it becomes

	mu   sync.Mutex
	have spans
	note notes
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
	p := &Partial{f: f, path: path, place: s.place(blobDir, d), note: notes{data: f, path: path + notesSuffix}}
	if st.Size() == 0 {
		p.note.remove() // of an earlier download
	}
	p.have = p.note.read().clip(st.Size())
	return p, nil
}

// File is the open file, of which only kept bytes mean something (Front, Missing).
func (p *Partial) File() *os.File { return p.f }

// Have returns the ranges that are there, in order, each from and to.
func (p *Partial) Have() [][2]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ranges(p.have)
}

// Size is the number of bytes kept.
func (p *Partial) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have.size()
}

// Front is how many bytes are there from the beginning on without a gap.
func (p *Partial) Front() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have.front()
}

// End is where the last byte that is there ends.
func (p *Partial) End() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.have) == 0 {
		return 0
	}
	return p.have[len(p.have)-1].To
}

// Missing returns what lacks of a blob of size bytes, in order.
func (p *Partial) Missing(size int64) []Span {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have.missing(size)
}

// ReadAt reads kept bytes.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) { return p.f.ReadAt(b, off) }

// WriteAt keeps bytes. What is there already stays as it is, whatever b says,
// since somebody may have read it.
func (p *Partial) WriteAt(b []byte, off int64) (int, error) {
	end := off + int64(len(b))
	p.mu.Lock()
	gaps := p.have.within(off, end)
	p.mu.Unlock()
	for _, g := range gaps {
		n, err := p.f.WriteAt(b[g.From-off:g.To-off], g.From)
		if n > 0 {
			p.mu.Lock()
			p.have = p.have.add(Span{g.From, g.From + int64(n)})
			p.note.grown(int64(n), p.have)
			p.mu.Unlock()
		}
		if err != nil {
			return int(g.From-off) + n, err
		}
	}
	return len(b), nil
}

// Reset forgets all bytes, which have proved wrong.
func (p *Partial) Reset() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have = nil
	p.note.remove()
	return p.f.Truncate(0)
}

// Publish makes a complete download, whose digest the caller has verified and
// whose content was synced (Staging.Sync does that), a blob, and closes it.
func (p *Partial) Publish() error {
	if err := makeDir(filepath.Dir(p.place)); err != nil {
		return fmt.Errorf("publish download: %w", err)
	}
	if err := os.Rename(p.path, p.place); err != nil {
		return fmt.Errorf("publish download: %w", err)
	}
	p.note.remove()
	return errors.Join(atomicfile.SyncDir(filepath.Dir(p.place)), p.close())
}

// Seal checks a complete download against its digest and syncs it, so that it
// can be published.
func (p *Partial) Seal(d oci.Digest) error {
	h := d.Hash()
	if _, err := io.Copy(h, io.NewSectionReader(p.f, 0, p.End())); err != nil {
		return fmt.Errorf("verify download: %w", err)
	}
	if err := d.Verify(h); err != nil {
		return fmt.Errorf("verify download: %w", err)
	}
	return p.f.Sync()
}

// Remove throws a download away, and closes it.
func (p *Partial) Remove() error {
	p.note.remove()
	err := os.Remove(p.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, p.close())
}

// Close keeps the bytes for the next try and lets others have them. It is
// harmless after Remove or Publish or Close.
func (p *Partial) Close() error {
	p.mu.Lock()
	p.note.say(p.have)
	p.mu.Unlock()
	return p.close()
}

func (p *Partial) close() error {
	p.note.close()
	if err := p.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
