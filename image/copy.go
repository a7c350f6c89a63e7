package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
	"loper.run/image/trust"
)

// CopyOptions says what of an image is copied.
type CopyOptions struct {
	All       bool   // all platforms of an index
	Platform  string // os/arch[/variant] of the one that is copied otherwise; "" is the host's
	Referrers bool   // signatures and whatever else refers to it, from registry to registry
	Progress  Progress
	// Trust is how strict to be about what comes into the store.
	Trust trust.Options
}

// Copy copies an image between registries, archives and the store, without
// changing a byte of it, and returns its manifest or index as the destination
// has it. Between registries and archives nothing passes through the store.
func (s *Store) Copy(ctx context.Context, source, destination string, o CopyOptions) (oci.Digest, error) {
	if o.Progress == nil {
		o.Progress = quiet{}
	}
	from, err := parsePlace(source)
	if err != nil {
		return oci.Digest{}, err
	}
	to, err := parsePlace(destination)
	if err != nil {
		return oci.Digest{}, err
	}
	var d oci.Digest
	if to.here {
		d, err = s.copyHere(ctx, from, to, o)
	} else {
		d, err = s.copyAway(ctx, from, to, o)
	}
	if err != nil {
		return d, fmt.Errorf("copy %.300s to %.300s: %w", source, destination, err)
	}
	return d, nil
}

// copyHere brings an image into the store, under the name of the destination.
func (s *Store) copyHere(ctx context.Context, from, to place, o CopyOptions) (oci.Digest, error) {
	name := from.name
	switch {
	case from.here:
	case from.form == "":
		img, err := s.Pull(ctx, from.name, PullOptions{Platform: o.Platform, Progress: o.Progress, Trust: o.Trust})
		if err != nil {
			return oci.Digest{}, err
		}
		name = img.ID.String()
		if img.PulledAs != "" {
			name = img.PulledAs
		}
	default:
		a, err := from.open(ctx, s.files.Root())
		if err != nil {
			return oci.Digest{}, err
		}
		defer a.Close()
		img, err := from.image(a)
		if err != nil {
			return oci.Digest{}, err
		}
		img.Names, a.Images = nil, []archive.Image{img}
		loaded, err := s.Load(ctx, a, LoadOptions{Platform: o.Platform, Progress: o.Progress, Trust: o.Trust})
		if err != nil {
			return oci.Digest{}, err
		}
		name = loaded[0].ID.String()
	}
	img, err := s.Find(name)
	if err != nil {
		return oci.Digest{}, err
	}
	if to.name == "" || to.name == from.name && from.form == "" {
		return img.Manifest, nil
	}
	return img.Manifest, s.Tag(name, to.name)
}

// copyAway sends an image to a registry, or into an archive.
func (s *Store) copyAway(ctx context.Context, from, to place, o CopyOptions) (oci.Digest, error) {
	src, err := s.source(ctx, from, o)
	if err != nil {
		return oci.Digest{}, err
	}
	defer src.close()
	if to.form != "" {
		return s.copyToArchive(ctx, src, to, o)
	}
	ref, err := pushTarget(to.name)
	if err != nil {
		return oci.Digest{}, err
	}
	ref = ref.WithDefaultTag()
	client, err := s.connect(ref.Domain, o.Progress)
	if err != nil {
		return oci.Digest{}, err
	}
	defer client.Close()
	push := &send{from: src.from, client: client, to: ref, show: o.Progress, near: func(d oci.Digest) []string { return src.near(ref.Domain, d) }}
	t, err := src.tree(ctx, push, o)
	if err != nil {
		return oci.Digest{}, err
	}
	if err := push.run(ctx, t, []string{ref.Tag}); err != nil || !o.Referrers {
		return t.desc.Digest, err
	}
	if src.client == nil {
		return t.desc.Digest, errors.New("only a registry tells what refers to an image: copy from there")
	}
	return t.desc.Digest, push.referrers(ctx, src, t)
}

// copySource is an image that is copied.
type copySource struct {
	from   origin
	name   string
	target oci.Descriptor
	near   func(domain string, d oci.Digest) []string
	close  func()

	client *registry.Client // of a registry
	ref    reference.Reference
}

// source finds an image at a place.
func (s *Store) source(ctx context.Context, p place, o CopyOptions) (*copySource, error) {
	nowhere := func(string, oci.Digest) []string { return nil }
	switch {
	case p.here:
		release, err := s.files.Use(ctx)
		if err != nil {
			return nil, err
		}
		from := &local{s: s, show: o.Progress}
		src := &copySource{from: from, name: s.longName(p.name), near: from.near, close: func() { from.close(); release() }}
		if n, ok := s.named(p.name); ok && o.Platform == "" {
			from.know(n)
			src.target.Digest = n.Manifest
			return src, nil
		}
		id, err := s.pick(p.name, o.Platform)
		if err == nil {
			src.target.Digest, err = s.manifestDigest(id)
		}
		if err != nil {
			src.close()
			return nil, err
		}
		return src, nil
	case p.form == "":
		ref, err := reference.Parse(p.name)
		if err != nil {
			return nil, err
		}
		ref = ref.WithDefaultTag()
		client, err := s.connect(ref.Domain, o.Progress)
		if err != nil {
			return nil, err
		}
		src := &copySource{from: &remote{client, ref.Path}, name: p.name, close: client.Close, client: client, ref: ref}
		src.near = func(domain string, _ oci.Digest) []string {
			if domain == ref.Domain {
				return []string{ref.Path}
			}
			return nil
		}
		// What the name stands for is asked once: it may change.
		body, mediaType, digest, err := client.Manifest(ctx, ref)
		if err != nil {
			client.Close()
			return nil, err
		}
		src.from = &begun{src.from, digest, body}
		src.target = oci.Descriptor{MediaType: mediaType, Digest: digest, Size: int64(len(body))}
		return src, nil
	}
	a, err := p.open(ctx, s.files.Root())
	if err != nil {
		return nil, err
	}
	img, err := p.image(a)
	if err != nil {
		a.Close()
		return nil, err
	}
	src := &copySource{from: &archived{a}, target: img.Target, near: nowhere, close: func() { a.Close() }}
	if len(img.Names) > 0 {
		src.name = img.Names[0]
	}
	return src, nil
}

func (s *Store) manifestDigest(id oci.Digest) (oci.Digest, error) {
	rec, err := s.files.Image(id)
	return rec.Manifest, err
}

// tree reads what is to be copied: all, or the one manifest for a platform.
func (src *copySource) tree(ctx context.Context, s *send, o CopyOptions) (*outgoing, error) {
	d := src.target
	if o.All {
		return s.read(ctx, d)
	}
	platform, err := oci.ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	for range oci.MaxDepth {
		body, err := src.from.document(ctx, d)
		if err != nil {
			return nil, err
		}
		doc, err := oci.ParseDocument(body, d.MediaType)
		if err != nil {
			return nil, err
		}
		if doc.Manifest != nil {
			return s.read(ctx, d)
		}
		chosen, ok := doc.Index.Select(platform)
		if !ok {
			return nil, fmt.Errorf("%w for the platform %s: there is %s", errNoPlatform, platform, doc.Index.Platforms())
		}
		d = chosen
	}
	return nil, fmt.Errorf("more than %d indexes, one inside the other", oci.MaxDepth)
}

// begun is an origin of which the first document is here already.
type begun struct {
	origin
	digest oci.Digest
	body   []byte
}

func (b *begun) document(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	if d.Digest == b.digest {
		return b.body, nil
	}
	return b.origin.document(ctx, d)
}

// archived is an archive as an origin.
type archived struct{ a *archive.Archive }

func (a *archived) document(_ context.Context, d oci.Descriptor) ([]byte, error) {
	return a.a.Small(d, oci.MaxManifest)
}

func (a *archived) open(_ context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	c, err := a.a.Open(d)
	if err != nil {
		return nil, err
	}
	r := c.Reader()
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		c.Close()
		return nil, err
	}
	return &struct {
		io.Reader
		io.Closer
	}{r, c}, nil
}

// copyToArchive writes an image into a new archive.
func (s *Store) copyToArchive(ctx context.Context, src *copySource, to place, o CopyOptions) (oci.Digest, error) {
	t, err := src.tree(ctx, &send{from: src.from}, o)
	if err != nil {
		return oci.Digest{}, err
	}
	names, err := to.called(src.name)
	if err != nil {
		return oci.Digest{}, err
	}
	w, err := archive.Create(to.path, to.form)
	if err != nil {
		return oci.Digest{}, err
	}
	defer w.Abort()
	for _, j := range jobs(t) {
		if err := copyBlob(ctx, w, src.from, j.Descriptor, filepath.Dir(to.path)); err != nil {
			return oci.Digest{}, fmt.Errorf("blob %s: %w", j.Digest.Short(), err)
		}
	}
	for _, c := range t.below() {
		if err := w.Document(ctx, c.desc.Digest, c.body); err != nil {
			return oci.Digest{}, err
		}
	}
	saved := archive.Saved{Names: names, Target: t.desc, Body: t.body, Manifest: t.firstManifest()}
	if err := w.Image(ctx, saved); err != nil {
		return oci.Digest{}, err
	}
	return t.desc.Digest, w.Finish()
}

// copyBlob brings a blob into a nameless file first, since an archive takes
// whole files, which it can share or copy without reading them.
func copyBlob(ctx context.Context, w *archive.Writer, from origin, d oci.Descriptor, dir string) error {
	in, err := opener(ctx, from, d)(0)
	if err != nil {
		return err
	}
	defer in.Close()
	if f, ok := in.(*os.File); ok {
		return w.Blob(ctx, d, f)
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	if _, err := io.CopyN(f, in, d.Size); err != nil {
		return err
	}
	return w.Blob(ctx, d, f)
}
