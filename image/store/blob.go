package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// PutBlob verifies data against d and publishes it, synced.
func (s *Store) PutBlob(d oci.Digest, data []byte) error {
	h := d.Hash()
	if h == nil {
		return errors.New("put blob: it has no digest")
	}
	h.Write(data)
	if err := d.Verify(h); err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	if _, err := s.Blob(d, int64(len(data))); err == nil {
		return nil
	}
	path := s.place(blobDir, d)
	if err := makeDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	if err := atomicfile.Write(path, data, 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	return nil
}

// Blob returns a blob of at most max bytes, verified. The error is
// os.ErrNotExist without it and ErrDamaged when it is not what was put.
func (s *Store) Blob(d oci.Digest, max int64) ([]byte, error) {
	h := d.Hash()
	if h == nil {
		return nil, fmt.Errorf("blob without digest: %w", os.ErrNotExist)
	}
	data, err := readFile(s.place(blobDir, d), max)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	h.Write(data)
	if err := d.Verify(h); err != nil {
		return nil, fmt.Errorf("blob %s: %w: %w", d, ErrDamaged, err)
	}
	return data, nil
}

// OpenBlob opens a blob of any size, such as a layer as it came. Unlike Blob it
// verifies nothing: the reader hashes what it reads. The error is os.ErrNotExist
// without the blob.
func (s *Store) OpenBlob(d oci.Digest) (*os.File, error) {
	if d.IsZero() {
		return nil, fmt.Errorf("blob without digest: %w", os.ErrNotExist)
	}
	f, err := os.OpenFile(s.place(blobDir, d), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: not a regular file", ErrDamaged)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return f, nil
}

// hasBlob reports whether a blob is there, without reading it.
func (s *Store) hasBlob(d oci.Digest) bool {
	if d.IsZero() {
		return false
	}
	_, err := os.Lstat(s.place(blobDir, d))
	return err == nil
}

// listBlobs returns the digests of all blobs.
func (s *Store) listBlobs() (all []oci.Digest, err error) {
	err = s.digests(blobDir, func(d oci.Digest) error {
		all = append(all, d)
		return nil
	})
	return all, err
}
