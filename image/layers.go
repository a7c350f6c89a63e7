package image

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"syscall"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/store"
)

// ProgressState is what happens to a layer.
type ProgressState = progress.State

// downloads is how many layers come in at once. More gain nothing on a fast
// line and are rude on a slow one.
const downloads = 4

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
	fetching := make(chan struct{}, downloads)
	unpacking := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for _, j := range jobs {
		select {
		case fetching <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		l := &layerPull{pull: p, desc: j.desc, diff: j.diff, opts: opts, fetching: fetching, unpacking: unpacking}
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
	desc                oci.Descriptor
	diff                oci.Digest
	opts                layer.Options
	fetching, unpacking chan struct{} // slots; fetching is held at the start
}

func (l *layerPull) id() string { return l.desc.Digest.Short() }

func (l *layerPull) run(ctx context.Context) error {
	free := sync.OnceFunc(func() { <-l.fetching })
	defer free()
	for try := 1; ; try++ {
		resumed, err := l.once(ctx, free)
		if errors.Is(err, store.ErrPresent) {
			l.show.Update(l.id(), progress.Exists, 0, 0)
			return nil
		}
		// What an earlier pull left may have rotted: begin anew, once.
		var mismatch *oci.MismatchError
		if errors.As(err, &mismatch) && resumed && try == 1 {
			l.show.Update(l.id(), progress.Retrying, 0, 0)
			continue
		}
		if err == nil {
			l.show.Update(l.id(), progress.Complete, 0, 0)
		}
		return err
	}
}

// once fetches, verifies and unpacks the layer, all at the same time. It
// reports whether it began with bytes of an earlier try. fetched is called when
// the network is no longer needed.
func (l *layerPull) once(ctx context.Context, fetched func()) (resumed bool, err error) {
	staging, err := l.s.files.BeginLayer(ctx, l.diff)
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
	if part.Size() > l.desc.Size {
		if err := part.Reset(); err != nil {
			return false, err
		}
	}
	resumed = part.Size() > 0

	ctx, cancel := context.WithCancelCause(ctx)
	sp := newSpool(part)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer fetched()
		l.show.Update(l.id(), progress.Downloading, sp.length(), l.desc.Size)
		_, err := l.client.Download(ctx, l.ref.Path, l.desc, sp.length(), &counter{l, sp})
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

	select {
	case l.unpacking <- struct{}{}:
		defer func() { <-l.unpacking }()
	case <-ctx.Done():
		return resumed, context.Cause(ctx)
	}
	result, err := l.unpack(ctx, sp, staging)
	if err != nil {
		var mismatch *oci.MismatchError
		stop(err)
		if errors.As(err, &mismatch) || isForeign(err) && sp.length() == l.desc.Size {
			// A complete download that proved bad is bad the next time too.
			err = errors.Join(err, part.Reset())
		}
		return resumed, err
	}
	if w := result.Warning(); w != "" {
		l.show.Message(l.id() + ": " + w)
	}
	if err := part.Publish(); err != nil {
		return resumed, err
	}
	_, err = staging.Commit(result.Bytes, result.Entries)
	return resumed, err
}

// counter shows the bytes that come in on their way to the file.
type counter struct {
	l  *layerPull
	sp *spool
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.sp.Write(b)
	c.l.show.Update(c.l.id(), progress.Downloading, c.sp.length(), c.l.desc.Size)
	return n, err
}

// unpack unpacks the download while it grows.
func (l *layerPull) unpack(ctx context.Context, sp *spool, staging *store.Staging) (layer.Result, error) {
	src := layer.Source{File: sp.part.File(), Limit: sp.wait, Progress: func(used int64) {
		if sp.length() == l.desc.Size {
			l.show.Update(l.id(), progress.Extracting, used, l.desc.Size)
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
