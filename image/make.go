package image

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"loper.run/image/archive"
	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/image/reference"
	"loper.run/image/store"
)

// Recipe says what an image is made of.
type Recipe struct {
	// Base is the image below the new layer; zero: there is none.
	Base oci.Digest
	// Config is how the image is to be run.
	Config oci.ImageConfig
	// Platform is that of an image without a base; zero is the host's.
	Platform oci.Platform
	Created  time.Time
	Author   string
	// CreatedBy and Comment go into the history.
	CreatedBy, Comment string
	// Name is what the image is to be called; "": nothing. Without a tag it
	// gets the tag latest.
	Name string
}

// Make makes an image whose last layer is a tar that write writes, and returns
// its id. The same tar makes the same layer.
func (s *Store) Make(ctx context.Context, r Recipe, write func(w io.Writer) error) (oci.Digest, error) {
	return s.assemble(ctx, r, func(in *store.Incoming) (made, error) { return fillPacked(in, true, write) })
}

// Import makes an image of one layer, a tar that somebody else made and that may
// be compressed. Compressed by gzip or zstd it is kept as it is.
func (s *Store) Import(ctx context.Context, r Recipe, from io.Reader) (oci.Digest, error) {
	return s.assemble(ctx, r, func(in *store.Incoming) (made, error) {
		stream := bufio.NewReaderSize(&stopper{ctx, from}, 1<<20)
		head, err := stream.Peek(8)
		if err != nil && err != io.EOF {
			return made{}, err
		}
		kind := archive.Sniff(head)
		if kind != archive.Gzip && kind != archive.Zstd {
			return fillPacked(in, true, func(to io.Writer) error { return copyPlain(to, stream, kind) })
		}
		plain := oci.SHA256.New()
		m, err := fillPacked(in, false, func(to io.Writer) error { return copyPlain(plain, io.TeeReader(stream, to), kind) })
		m.desc.MediaType += "+" + string(kind)
		m.diff = oci.FromHash(oci.SHA256, plain)
		return m, err
	})
}

// copyPlain writes what a stream holds, and reads it to its end.
func copyPlain(to io.Writer, from io.Reader, kind archive.Compression) error {
	tar, err := archive.Decompress(from, kind)
	if err != nil {
		return err
	}
	defer tar.Close()
	if _, err := io.Copy(to, tar); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from)
	return err
}

// stopper ends a stream when its context does.
type stopper struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopper) Read(b []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

func (s *Store) assemble(ctx context.Context, r Recipe, fill func(*store.Incoming) (made, error)) (oci.Digest, error) {
	var name reference.Reference
	if r.Name != "" {
		var err error
		if name, err = reference.Parse(r.Name); err != nil {
			return oci.Digest{}, err
		}
		if !name.Digest.IsZero() {
			return oci.Digest{}, fmt.Errorf("%s: a name with a digest can't be given", r.Name)
		}
	}
	release, err := s.files.Use(ctx)
	if err != nil {
		return oci.Digest{}, err
	}
	defer release()
	m, img, err := s.base(r)
	if err != nil {
		return oci.Digest{}, err
	}
	in, err := s.files.Incoming()
	if err != nil {
		return oci.Digest{}, err
	}
	defer in.Close()
	l, err := fill(in)
	if err != nil {
		return oci.Digest{}, err
	}
	if err := s.adopt(ctx, in, l); err != nil {
		return oci.Digest{}, err
	}
	m.Layers = append(m.Layers, l.desc)
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, l.diff)
	return s.compose(m, img, name)
}

// base is the manifest and the configuration that a new layer is added to.
func (s *Store) base(r Recipe) (*oci.Manifest, *oci.Image, error) {
	m := &oci.Manifest{SchemaVersion: 2, MediaType: oci.TypeManifest, Layers: []oci.Descriptor{}}
	img := &oci.Image{Platform: r.Platform, RootFS: oci.RootFS{Type: "layers"}}
	if img.Architecture == "" {
		img.Platform = oci.Host()
	}
	if !r.Base.IsZero() {
		w, err := s.whole(r.Base, oci.Digest{})
		if err != nil {
			return nil, nil, err
		}
		if img, err = oci.DecodeImage(w.config); err != nil {
			return nil, nil, err
		}
		for _, d := range w.manifest.Layers {
			m.Layers = append(m.Layers, ociLayer(d))
		}
	}
	created := r.Created.UTC()
	img.Created, img.Author, img.Config = &created, r.Author, r.Config
	img.History = append(img.History, oci.History{Created: &created, CreatedBy: r.CreatedBy, Author: r.Author, Comment: r.Comment})
	return m, img, nil
}

// ociLayer calls a layer of Docker's by the image specification's name.
func ociLayer(d oci.Descriptor) oci.Descriptor {
	switch d.MediaType {
	case oci.TypeDockerLayer:
		d.MediaType = oci.TypeLayer
	case oci.TypeDockerLayer + ".gzip":
		d.MediaType = oci.TypeLayer + "+gzip"
	case oci.TypeDockerLayer + ".zstd":
		d.MediaType = oci.TypeLayer + "+zstd"
	}
	return d
}

// adopt unpacks a packed layer into the store and keeps both forms.
func (s *Store) adopt(ctx context.Context, in *store.Incoming, l made) error {
	o, err := s.unpackOptions()
	if err != nil {
		return err
	}
	staging, err := s.files.BeginLayer(ctx, l.diff)
	if errors.Is(err, store.ErrPresent) {
		if s.files.HasBlob(l.desc.Digest) {
			return nil
		}
		if err := in.Sync(); err != nil {
			return err
		}
		return in.Publish(l.desc.Digest)
	}
	if err != nil {
		return err
	}
	defer staging.Abort()
	result, err := s.unpackSource(ctx, layer.Source{File: in.File}, io.NewSectionReader(in, 0, l.desc.Size), l.desc, l.diff, staging, o)
	if err != nil {
		return err
	}
	if err := in.Publish(l.desc.Digest); err != nil {
		return err
	}
	_, err = staging.Commit(result.Bytes, result.Entries)
	return err
}

// compose writes the documents of an image whose layers are in the store.
func (s *Store) compose(m *oci.Manifest, img *oci.Image, name reference.Reference) (oci.Digest, error) {
	config, err := json.Marshal(img)
	if err != nil {
		return oci.Digest{}, err
	}
	m.Config = oci.Descriptor{MediaType: oci.TypeConfig, Digest: oci.FromBytes(config), Size: int64(len(config))}
	body, err := json.Marshal(m)
	if err != nil {
		return oci.Digest{}, err
	}
	rec, err := s.newRecord(m, img, []document{{oci.FromBytes(body), body}, {m.Config.Digest, config}})
	if err != nil {
		return oci.Digest{}, err
	}
	rec.Kept = true
	if err := s.files.PutImage(rec); err != nil {
		return oci.Digest{}, err
	}
	if name.Path == "" {
		return rec.ID, nil
	}
	return rec.ID, s.nameImage(name.WithDefaultTag().String(), rec.ID, rec.Manifest)
}
