package image

import (
	"context"
	"fmt"
	"io"
	"os"

	"loper.run/image/oci"
	"loper.run/image/pack"
	"loper.run/image/store"
)

// packedLayer opens a layer of an image as its manifest lists it. The bytes are
// not verified. One that was dropped is fetched again from where it came, or
// made anew of the unpacked layers, if that leads to the very same bytes, as it
// does with layers that were made here.
func (s *Store) packedLayer(ctx context.Context, w *whole, i int) (*os.File, error) {
	desc := w.manifest.Layers[i]
	f, err := s.files.OpenBlob(desc.Digest)
	if err == nil || !isNotExist(err) {
		return f, err
	}
	if err := s.refetch(ctx, desc); err != nil {
		if s.repack(ctx, w, i) != nil {
			return nil, err
		}
	}
	return s.files.OpenBlob(desc.Digest)
}

// refetch brings a layer back from a registry that it came from.
func (s *Store) refetch(ctx context.Context, desc oci.Descriptor) error {
	from := &local{s: s, show: quiet{}}
	defer from.close()
	body, err := from.fetch(ctx, desc, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	in, err := s.files.Incoming()
	if err != nil {
		return err
	}
	defer in.Close()
	h := desc.Digest.Hash()
	if _, err := io.Copy(io.MultiWriter(in.File, h), io.LimitReader(body, desc.Size+1)); err != nil {
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

func (s *Store) repack(ctx context.Context, w *whole, i int) error {
	var dirs []string
	for _, d := range w.diffs[:i+1] {
		l, err := s.files.Layer(d)
		if err != nil {
			return err
		}
		dirs = append(dirs, l.Dir)
	}
	in, err := s.files.Incoming()
	if err != nil {
		return err
	}
	defer in.Close()
	write := func(to io.Writer) error { return pack.WriteMapped(ctx, to, dirs, pack.Options{Changes: true}) }
	compressed := w.manifest.Layers[i].Digest != w.diffs[i]
	l, err := fillPacked(in, compressed, write)
	if err != nil {
		return err
	}
	if want := w.manifest.Layers[i].Digest; l.desc.Digest != want {
		return fmt.Errorf("made anew it is another: %w", &oci.MismatchError{Want: want, Got: l.desc.Digest})
	}
	if err := in.Sync(); err != nil {
		return err
	}
	return in.Publish(l.desc.Digest)
}

// made is a layer in its packed form.
type made struct {
	desc oci.Descriptor
	diff oci.Digest
}

// fillPacked puts the tar that write writes into a file.
func fillPacked(in *store.Incoming, compress bool, write func(io.Writer) error) (made, error) {
	plain, packed := oci.SHA256.New(), oci.SHA256.New()
	size := &size{}
	to := io.MultiWriter(in.File, packed, size)
	m := made{desc: oci.Descriptor{MediaType: oci.TypeLayer}}
	var err error
	if compress {
		m.desc.MediaType += "+gzip"
		z := pack.NewGzip(to)
		err = write(io.MultiWriter(plain, z))
		if zErr := z.Close(); err == nil {
			err = zErr
		}
	} else {
		err = write(io.MultiWriter(plain, to))
	}
	m.desc.Digest, m.desc.Size, m.diff = oci.FromHash(oci.SHA256, packed), size.n, oci.FromHash(oci.SHA256, plain)
	return m, err
}

// size counts the bytes of a file that grows.
type size struct{ n int64 }

func (s *size) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	return len(b), nil
}
