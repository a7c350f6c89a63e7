package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/tree"
)

// recordFile is the record of a layer's tree as it was published, by which any
// damage is found without unpacking it again (package tree has its form).
const recordFile = "tree.gz"

// record writes the record of what was unpacked.
func (st *Staging) record() error { return recordTree(st.path) }

// recordTree writes the record of the tree of a layer's directory.
func recordTree(place string) error {
	dir, err := os.OpenFile(filepath.Join(place, treeDir), onlyDir|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := os.OpenFile(filepath.Join(place, recordFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := tree.RecordMapped(context.Background(), dir, z, false); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// openRecord opens the record of a layer; os.ErrNotExist when it has none, as
// layers that an older version unpacked.
func (s *Store) openRecord(d oci.Digest) (io.ReadCloser, error) {
	f, err := os.OpenFile(filepath.Join(s.place(layerDir, d), recordFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %w", tree.ErrRecord, err)
	}
	return &recordReader{z, f}, nil
}

type recordReader struct {
	*gzip.Reader
	f *os.File
}

func (r *recordReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", tree.ErrRecord, err)
	}
	return n, err
}

func (r *recordReader) Close() error {
	r.Reader.Close()
	return r.f.Close()
}

// layerOf returns the layer whose tree a directory is.
func (s *Store) layerOf(dir string) (oci.Digest, bool) {
	place := filepath.Dir(dir)
	alg := filepath.Dir(place)
	if filepath.Base(dir) != treeDir || filepath.Dir(alg) != s.path(layerDir) {
		return oci.Digest{}, false
	}
	d, err := oci.Parse(filepath.Base(alg) + ":" + filepath.Base(place))
	return d, err == nil
}
