package image

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"loper.run/image/progress"
	"loper.run/image/registry"
	"loper.run/image/store"
)

const (
	// splitFrom is the size in bytes from which a blob may come in over several
	// connections.
	splitFrom = 32 << 20
	// piece is how many bytes one of several connections asks for at a time: so
	// many that asking costs nothing, so few that what is in front comes soon.
	piece = 8 << 20
	// lookEvery is how often it is looked whether another connection would help,
	// and whether the last one did.
	lookEvery = 500 * time.Millisecond
)

// fetch brings in what is missing of one blob. It begins with one connection,
// which asks for all that follows. Only while the unpacker waits for the
// network, and while the last connection that was added brought something, a
// further one takes a piece out of what lies ahead.
type fetch struct {
	l    *layerPull
	part *store.Partial
	sp   *spool
	used *atomic.Int64 // bytes that the unpacker has behind it

	mu     sync.Mutex
	gaps   []store.Span // missing, and asked for by nobody
	claims []*claim
	whole  bool // the registry has no ranges
	enough bool // no further connection
	failed error
	extras sync.WaitGroup
	cancel context.CancelCauseFunc
}

// claim is what one connection is to bring in.
type claim struct {
	f         *fetch
	at, limit int64 // what is left of it
	asked     int64 // how far the registry sends, when it is let
	extra     bool
}

// errEnough ends a transfer whose rest somebody else brings.
var errEnough = errors.New("the rest comes on another connection")

func (f *fetch) run(ctx context.Context) error {
	size := f.l.desc.Size
	f.gaps = f.part.Missing(size)
	ctx, f.cancel = context.WithCancelCause(ctx)
	defer f.cancel(nil)
	if size >= splitFrom && !f.l.alone {
		go f.look(ctx)
	}
	f.shown()
	err := f.work(ctx, false)
	if err != nil {
		f.cancel(err)
	}
	f.mu.Lock()
	f.enough = true
	f.mu.Unlock()
	f.extras.Wait()
	if err == nil {
		err = f.failed
	}
	if err == nil && f.part.Front() < size { // what an extra connection gave back at the end
		err = f.work(ctx, false)
	}
	return err
}

// work brings in one claim after the other.
func (f *fetch) work(ctx context.Context, extra bool) error {
	for {
		c := f.claim(extra)
		if c == nil {
			return nil
		}
		err := c.transfer(ctx)
		f.release(c)
		switch {
		case err == nil, errors.Is(err, errEnough) && !(extra && f.l.lines.wanted()):
		case errors.Is(err, registry.ErrNoRanges):
			f.mu.Lock()
			again := f.whole // a registry that was asked for all must not say so
			f.whole = true
			f.mu.Unlock()
			if extra || again {
				return err
			}
		default:
			return err
		}
	}
}

// look adds connections, one after the other, until one brought nothing.
func (f *fetch) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	had, before := f.part.Size(), int64(0)
	for added := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		have := f.part.Size()
		got := have - had
		had = have
		if added && got < before*6/5 {
			return
		}
		starved := f.part.Front()-f.used.Load() < piece
		if !starved || f.l.desc.Size-have < 2*piece || !f.l.lines.more() {
			continue
		}
		f.mu.Lock()
		if f.enough || f.whole {
			f.mu.Unlock()
			f.l.lines.give()
			return
		}
		added, before, f.l.split = true, got, true
		f.extras.Go(func() {
			defer f.l.lines.give()
			f.further(ctx)
		})
		f.mu.Unlock()
	}
}

// further is a connection beside the first one. When it fails the first one
// goes on alone, and meets what is wrong itself.
func (f *fetch) further(ctx context.Context) {
	err := f.work(ctx, true)
	if err == nil || errors.Is(err, errEnough) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enough = true
	var broken *diskError
	if errors.As(err, &broken) {
		f.failed = err
		f.cancel(err)
	}
}

// diskError is a failure to keep what came.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// claim picks what a connection is to bring next: nil when nothing is left.
func (f *fetch) claim(extra bool) *claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := f.l.desc.Size
	if len(f.gaps) == 0 && !f.whole {
		f.split()
	}
	if len(f.gaps) == 0 {
		return nil
	}
	g := f.gaps[0]
	c := &claim{f: f, at: g.From, limit: g.To, extra: extra}
	switch {
	case f.whole && extra:
		return nil
	case f.whole: // what comes twice is dropped
		c.limit, f.gaps = size, nil
	case len(f.claims) > 0 && g.Len() > piece:
		c.limit = g.From + piece
		f.gaps[0].From = c.limit
	default:
		f.gaps = f.gaps[1:]
	}
	c.asked = c.limit
	f.claims = append(f.claims, c)
	return c
}

// split makes a gap of the end of the largest claim. What is left of that is
// far more than may be on its way into the file right now.
func (f *fetch) split() {
	var most *claim
	for _, c := range f.claims {
		if most == nil || c.limit-c.at > most.limit-most.at {
			most = c
		}
	}
	if most == nil || most.limit-most.at < piece {
		return
	}
	at := most.at + min(piece, (most.limit-most.at)/2)
	f.gaps = append(f.gaps, store.Span{From: at, To: most.limit})
	most.limit = at
}

// release takes back what is left of a claim. A connection that would send it
// anyway gets it.
func (f *fetch) release(c *claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, other := range f.claims {
		if other == c {
			f.claims = append(f.claims[:i], f.claims[i+1:]...)
			break
		}
	}
	if c.at < c.limit {
		i := 0
		for i < len(f.gaps) && f.gaps[i].From < c.at {
			i++
		}
		rest := append([]store.Span{{From: c.at, To: c.limit}}, f.gaps[i:]...)
		f.gaps = append(f.gaps[:i:i], rest...)
	}
	for i := 0; i < len(f.gaps); i++ {
		for _, other := range f.claims {
			if g := f.gaps[i]; other.limit == g.From && other.at < other.limit && other.asked >= g.To {
				other.limit = g.To
				f.gaps = append(f.gaps[:i], f.gaps[i+1:]...)
				i--
				break
			}
		}
	}
}

func (c *claim) transfer(ctx context.Context) error {
	l := c.f.l
	var err error
	if c.asked == l.desc.Size {
		_, err = l.client.Download(ctx, l.ref.Path, l.desc, c.at, c)
	} else {
		_, err = l.client.Range(ctx, l.ref.Path, l.desc, c.at, c.asked, c)
	}
	return err
}

// Write keeps what came, up to the claim's end.
func (c *claim) Write(b []byte) (int, error) {
	f := c.f
	f.mu.Lock()
	at := c.at
	n := int(min(int64(len(b)), c.limit-at))
	f.mu.Unlock()
	if _, err := f.part.WriteAt(b[:n], at); err != nil {
		return 0, &diskError{err}
	}
	f.mu.Lock()
	c.at += int64(n)
	stop := c.at >= c.limit && c.limit < c.asked || c.extra && f.l.lines.wanted()
	f.mu.Unlock()
	f.sp.grow(f.part.Front())
	f.shown()
	if n < len(b) || stop {
		return n, errEnough
	}
	return n, nil
}

func (f *fetch) shown() {
	f.l.show.Parts(f.l.id(), f.part.Have())
	f.l.show.Update(f.l.id(), progress.Downloading, f.part.Size(), f.l.desc.Size)
}
