package image

import (
	"context"
	"fmt"
	"io"

	"loper.run/image/archive"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/registry"
)

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
