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
