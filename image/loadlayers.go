package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/store"
)

// layers brings the layers of all images in, several at once, each one once.
func (l *load) layers(ctx context.Context, all []*arrival) error {
	o, err := l.s.unpackOptions()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))
	seen := make(map[[2]oci.Digest]bool)
	var wg sync.WaitGroup
	for _, arr := range all {
		for i, diff := range arr.image.RootFS.DiffIDs {
			desc := arr.manifest.Layers[i]
			if seen[[2]oci.Digest{desc.Digest, diff}] {
				continue
			}
			seen[[2]oci.Digest{desc.Digest, diff}] = true
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := l.layer(ctx, desc, diff, o); err != nil {
					l.show.Update(desc.Digest.Short(), progress.Failed, 0, 0)
					cancel(fmt.Errorf("layer %s: %w", desc.Digest.Short(), err))
				}
			})
		}
	}
	wg.Wait()
	return context.Cause(ctx)
}

// layer copies a layer as it is packed into the store, and unpacks the copy:
// what is checked is what is kept, whoever may write to the archive meanwhile.
func (l *load) layer(ctx context.Context, desc oci.Descriptor, diff oci.Digest, o layer.Options) error {
	staging, err := l.s.files.BeginLayer(ctx, diff)
	if errors.Is(err, store.ErrPresent) {
		l.show.Update(desc.Digest.Short(), progress.Exists, 0, 0)
		return l.packed(desc)
	}
	if err != nil {
		return err
	}
	defer staging.Abort()
	in, err := l.copy(desc)
	if err != nil {
		return err
	}
	defer in.Close()
	src := layer.Source{File: in.File, Progress: func(used int64) { l.show.Update(desc.Digest.Short(), progress.Extracting, used, desc.Size) }}
	result, err := l.s.unpackSource(ctx, src, io.NewSectionReader(in, 0, desc.Size), desc, diff, staging, o)
	if err != nil {
		return err
	}
	if w := result.Warning(); w != "" {
		l.show.Message(desc.Digest.Short() + ": " + w)
	}
	if err := in.Publish(desc.Digest); err != nil {
		return err
	}
	if _, err := staging.Commit(result.Bytes, result.Entries); err != nil {
		return err
	}
	l.show.Update(desc.Digest.Short(), progress.Loaded, 0, 0)
	return nil
}

// packed keeps the packed form of a layer that was unpacked before, so that the
// image can be handed on with this manifest.
func (l *load) packed(desc oci.Descriptor) error {
	if l.s.files.HasBlob(desc.Digest) {
		return nil
	}
	in, err := l.copy(desc)
	if err != nil {
		return err
	}
	defer in.Close()
	h := desc.Digest.Hash()
	if _, err := io.Copy(h, io.NewSectionReader(in, 0, desc.Size)); err != nil {
		return err
	}
	if err := desc.Digest.Verify(h); err != nil {
		return err
	}
	if err := in.Sync(); err != nil {
		return err
	}
	return in.Publish(desc.Digest)
}

func (l *load) copy(desc oci.Descriptor) (*store.Incoming, error) {
	c, err := l.from.Open(desc)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in, err := l.s.files.Incoming()
	if err != nil {
		return nil, err
	}
	if err := c.CopyTo(in.File); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}
