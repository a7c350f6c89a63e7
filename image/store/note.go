package store

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Note is something kept beside an image's record, and removed with it. The
// image is whole without it.
type Note string

// The notes there are.
const (
	// Verdicts tells what was decided about using the image.
	Verdicts Note = "verdicts.json"
	// Signatures are those that were found, for when a decision has to be made again.
	Signatures Note = "signatures.json"
)

// PutNote replaces a note of an image, which must exist.
func (s *Store) PutNote(id oci.Digest, n Note, v any) error {
	f, err := s.lockImage(context.Background(), id, unix.LOCK_SH)
	if err != nil {
		return fmt.Errorf("note %s: %w", n, err)
	}
	defer f.Close()
	if err := atomicfile.WriteJSON(filepath.Join(s.place(imageDir, id), string(n)), v, 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("note %s of image %s: %w", n, id, err)
	}
	return nil
}

// Note returns the JSON of at most max bytes that was put; os.ErrNotExist when
// there is none.
func (s *Store) Note(id oci.Digest, n Note, max int64) ([]byte, error) {
	data, err := readFile(filepath.Join(s.place(imageDir, id), string(n)), max)
	if err != nil {
		return nil, fmt.Errorf("note %s of image %s: %w", n, id, err)
	}
	return data, nil
}
