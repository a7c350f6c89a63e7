package image

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/store"
)

// ProgressState is what happens to a layer.
type ProgressState = progress.State

// layers brings all layers in, several at once. The largest begin first: they
// take longest, and would be alone at the end.
func (p *pull) layers(ctx context.Context) error {
	type job struct {
		desc oci.Descriptor
		diff oci.Digest
	}
	var jobs []job
	seen := make(map[oci.Digest]bool)
	for i, diff := range p.image.RootFS.DiffIDs {
		if !seen[diff] {
			seen[diff] = true
			jobs = append(jobs, job{p.manifest.Layers[i], diff})
			p.show.Update(p.manifest.Layers[i].Digest.Short(), progress.Waiting, 0, 0)
		}
	}
	sort.SliceStable(jobs, func(i, j int) bool { return jobs[i].desc.Size > jobs[j].desc.Size })
	opts, err := p.s.unpackOptions()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := newLines()
	unpacking := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for _, j := range jobs {
		if lines.take(ctx) != nil {
			break
		}
		l := &layerPull{pull: p, desc: j.desc, diff: j.diff, opts: opts, lines: lines, unpacking: unpacking}
		wg.Go(func() {
			if err := l.run(ctx); err != nil {
				// The others only follow the first that fails.
				if ctx.Err() == nil {
					p.show.Update(l.id(), progress.Failed, 0, 0)
				}
				cancel(fmt.Errorf("layer %s: %w", l.id(), err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// layerPull is one layer on its way in.
type layerPull struct {
	*pull
	desc      oci.Descriptor
	diff      oci.Digest
	opts      layer.Options
	lines     *lines        // one is held at the start
	unpacking chan struct{} // slots
	split     bool          // it came over several connections
	alone     bool          // it must not
}

func (l *layerPull) id() string { return l.desc.Digest.Short() }

func (l *layerPull) run(ctx context.Context) error {
	free := sync.OnceFunc(l.lines.give)
	defer free()
	err := l.fromStore(ctx)
	for try := 1; err == errAbsent; try++ {
		var resumed bool
		resumed, err = l.once(ctx, free)
		// What an earlier pull left may have rotted, a registry may give ranges
		// that are none, and a mirror may lie: begin anew, without it.
		var mismatch *oci.MismatchError
		if errors.As(err, &mismatch) && ((resumed || l.split) && try == 1 || l.client.Distrust(l.desc.Digest)) {
			l.alone = true
			l.show.Update(l.id(), progress.Retrying, 0, 0)
			err = errAbsent
		}
	}
	switch {
	case errors.Is(err, store.ErrPresent):
		l.show.Update(l.id(), progress.Exists, 0, 0)
		return nil
	case err == nil:
		l.show.Update(l.id(), progress.Complete, 0, 0)
	}
	return err
}

// errAbsent says that a layer has to be fetched. It is no error of a file: what
// unpacking says of a layer's own files is another matter.
var errAbsent = errors.New("the layer is not there")

// fromStore unpacks a layer that is there as it came, but not unpacked, or
// returns errAbsent.
func (l *layerPull) fromStore(ctx context.Context) error {
	blob, err := l.s.files.OpenBlob(l.desc.Digest)
	if data, ok := l.desc.Embedded(); ok && err != nil {
		if err := l.s.files.PutBlob(l.desc.Digest, data); err != nil {
			return err
		}
		blob, err = l.s.files.OpenBlob(l.desc.Digest)
	}
	if err != nil {
		return errAbsent
	}
	defer blob.Close()
	if st, err := blob.Stat(); err != nil || st.Size() != l.desc.Size {
		return errAbsent
	}
	if err := l.mayFetch(ctx); err != nil {
		return err
	}
	staging, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer staging.Abort()
	sp := newSpool(blob, l.desc.Size)
	sp.finish(nil)
	result, err := l.unpack(ctx, sp, new(atomic.Int64), staging)
	var mismatch *oci.MismatchError
	if errors.As(err, &mismatch) {
		return errAbsent // a good one takes its place
	}
	if err != nil {
		return err
	}
	_, err = staging.Commit(result.Bytes, result.Entries)
	return err
}

// begin is BeginLayer, and says so when somebody else is at that layer.
func (l *layerPull) begin(ctx context.Context) (*store.Staging, error) {
	late := time.AfterFunc(saysAfter, func() { l.show.Update(l.id(), progress.Elsewhere, 0, 0) })
	defer late.Stop()
	return l.s.files.BeginLayer(ctx, l.diff)
}

// saysAfter is how long nothing has to happen before it is told why.
const saysAfter = 300 * time.Millisecond

// once fetches, verifies and unpacks the layer, all at the same time. It
// reports whether it began with bytes of an earlier try. fetched is called when
// the network is no longer needed.
func (l *layerPull) once(ctx context.Context, fetched func()) (resumed bool, err error) {
	staging, err := l.begin(ctx)
	if err != nil {
		return false, err
	}
	defer staging.Abort()
	part, err := l.s.files.Partial(ctx, l.desc.Digest)
	if err != nil {
		return false, err
	}
	defer func() {
		// The good part waits for the next try, unless it is what fills the disk.
		if err != nil && (part.Size() == 0 || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
			part.Remove()
		}
		part.Close()
	}()
	if part.End() > l.desc.Size {
		if err := part.Reset(); err != nil {
			return false, err
		}
	}
	resumed = part.Size() > 0

	ctx, cancel := context.WithCancelCause(ctx)
	sp := newSpool(part.File(), part.Front())
	var used atomic.Int64
	f := fetch{l: l, part: part, sp: sp, used: &used}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer fetched()
		err := l.mayFetch(ctx)
		if err == nil {
			err = f.run(ctx)
		}
		if err == nil {
			l.show.Update(l.id(), progress.Downloaded, l.desc.Size, l.desc.Size)
		}
		sp.finish(err)
	})
	stop := func(err error) {
		cancel(err)
		sp.finish(err)
		wg.Wait()
	}
	defer stop(context.Canceled)

	result, err := l.unpack(ctx, sp, &used, staging)
	if err != nil {
		var mismatch *oci.MismatchError
		stop(err)
		if errors.As(err, &mismatch) || isForeign(err) && part.Size() == l.desc.Size {
			// A complete download that proved bad is bad the next time too.
			err = errors.Join(err, part.Reset())
		}
		return resumed, err
	}
	if w := result.Warning(); w != "" {
		l.show.Message(l.id() + ": " + w)
	}
	// The blob and the layer appear when both are on the disk.
	if err := staging.Sync(result.Bytes, result.Entries); err != nil {
		return resumed, err
	}
	if err := part.Publish(); err != nil {
		return resumed, err
	}
	_, err = staging.Commit(result.Bytes, result.Entries)
	return resumed, err
}

// unpack unpacks the download while it grows, once it is its turn.
func (l *layerPull) unpack(ctx context.Context, sp *spool, used *atomic.Int64, staging *store.Staging) (layer.Result, error) {
	select {
	case l.unpacking <- struct{}{}:
		defer func() { <-l.unpacking }()
	case <-ctx.Done():
		return layer.Result{}, context.Cause(ctx)
	}
	src := layer.Source{File: sp.file, Limit: sp.wait, Progress: func(n int64) {
		used.Store(n)
		if sp.length() == l.desc.Size {
			l.show.Update(l.id(), progress.Extracting, n, l.desc.Size)
		}
	}}
	return l.s.unpackSource(ctx, src, &spoolReader{ctx: ctx, s: sp}, l.desc, l.diff, staging, l.opts)
}

// isForeign reports whether the content is to blame for an error, and not this
// machine or the network.
func isForeign(err error) bool {
	var errno syscall.Errno
	return !errors.As(err, &errno) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
