package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/image/store"
)

// origin is where what is sent to a registry comes from.
type origin interface {
	// document returns a manifest or index, verified; os.ErrNotExist without it.
	document(ctx context.Context, d oci.Descriptor) ([]byte, error)
	// open reads a blob from an offset on. Who reads it verifies it.
	open(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error)
}

// opener gives the content of a descriptor: what it embeds, or what its origin has.
func opener(ctx context.Context, from origin, d oci.Descriptor) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) {
		if data, ok := d.Embedded(); ok {
			return io.NopCloser(bytes.NewReader(data[offset:])), nil
		}
		return from.open(ctx, d, offset)
	}
}

// local is the store as an origin. A layer that is not there as it came is read
// from a registry that it came from.
type local struct {
	s    *Store
	show Progress

	once   sync.Once
	places map[oci.Digest][]reference.Reference // repositories that a blob came from or went to
	mu     sync.Mutex
	remote map[string]*remote // by domain
}

func (l *local) document(_ context.Context, d oci.Descriptor) ([]byte, error) {
	return l.s.files.Blob(d.Digest, oci.MaxManifest)
}

func (l *local) open(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	f, err := l.s.files.OpenBlob(d.Digest)
	if errors.Is(err, os.ErrNotExist) {
		return l.fetch(ctx, d, offset)
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// fetch reads a blob from the first registry that has it.
func (l *local) fetch(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	for _, ref := range l.cameFrom(d.Digest) {
		r, err := l.registry(ref)
		if err != nil {
			continue
		}
		if found, err := r.client.HasBlob(ctx, ref.Path, d); err == nil && found {
			return r.open(ctx, d, offset)
		}
	}
	return nil, fmt.Errorf("layer %s is not in the store any more as it came: pull the image again", d.Digest.Short())
}

func (l *local) registry(ref reference.Reference) (*remote, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.remote[ref.Name()]; r != nil {
		return r, nil
	}
	client, err := l.s.connect(ref.Domain, l.show)
	if err != nil {
		return nil, err
	}
	r := &remote{client: client, path: ref.Path}
	if l.remote == nil {
		l.remote = make(map[string]*remote)
	}
	l.remote[ref.Name()] = r
	return r, nil
}

func (l *local) close() {
	for _, r := range l.remote {
		r.client.Close()
	}
}

// cameFrom lists the repositories that have had a blob of an image.
func (l *local) cameFrom(d oci.Digest) []reference.Reference {
	l.gather()
	return l.places[d]
}

func (l *local) gather() {
	l.once.Do(func() {
		l.places = make(map[oci.Digest][]reference.Reference)
		recs, _ := l.s.files.Images() // a damaged record tells of no place
		names, _ := l.s.files.Names()
		for _, rec := range recs {
			var refs []reference.Reference
			for _, name := range append(rec.Digests, digestNames(names, rec.ID)...) {
				if ref, err := reference.Parse(name); err == nil && !slices.ContainsFunc(refs, func(r reference.Reference) bool { return r.Name() == ref.Name() }) {
					refs = append(refs, ref)
				}
			}
			for _, blob := range append(rec.Packed, rec.ID) {
				l.places[blob] = append(l.places[blob], refs...)
			}
		}
	})
}

// digestNames lists the names of an image that tell where it is by digest.
func digestNames(names []store.Name, id oci.Digest) []string {
	var found []string
	for _, n := range names {
		if ref, err := reference.Parse(n.Name); err == nil && !ref.Digest.IsZero() && n.Has(id) {
			found = append(found, n.Name)
		}
	}
	return found
}

// near lists repositories of a registry that may have a blob, for a mount.
func (l *local) near(domain string, d oci.Digest) []string {
	const most = 3
	var paths []string
	for _, ref := range l.cameFrom(d) {
		if ref.Domain == domain && !slices.Contains(paths, ref.Path) && len(paths) < most {
			paths = append(paths, ref.Path)
		}
	}
	return paths
}

// remote is a repository as an origin.
type remote struct {
	client *registry.Client
	path   string
}

func (r *remote) document(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	body, _, _, err := r.client.Manifest(ctx, reference.Reference{Path: r.path, Digest: d.Digest})
	return body, err
}

// open downloads, which goes on by itself where a connection is cut.
func (r *remote) open(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, err := r.client.Download(ctx, r.path, d, offset, out)
		out.CloseWithError(err) // nil is the end
	}()
	return &download{in, cancel}, nil
}

type download struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (d *download) Close() error {
	d.cancel()
	return d.PipeReader.Close()
}
