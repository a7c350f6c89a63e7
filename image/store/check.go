package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/tree"
)

// ErrNoRecord is returned by CheckTree for a layer of an older version, of which
// it is not known what it was.
var ErrNoRecord = errors.New("there is no record of what the layer was")

// maxDifferences is how many differences of a tree are told.
const maxDifferences = 20

// CheckTree compares a layer's tree with the record that was made when it was
// unpacked: names, types, sizes, owners, permissions, times, links and extended
// attributes, but not what the files hold. Without an error and without
// differences it is as it was.
func (s *Store) CheckTree(ctx context.Context, d oci.Digest) ([]tree.Difference, error) {
	was, err := s.openRecord(d)
	if errors.Is(err, os.ErrNotExist) {
		if l, _ := s.readLayer(d); l.Recorded {
			return nil, fmt.Errorf("%w: it is gone", tree.ErrRecord)
		}
		return nil, ErrNoRecord
	}
	if err != nil {
		return nil, err
	}
	defer was.Close()
	dir, err := s.openTree(s.place(layerDir, d))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return compare(ctx, dir, was, false)
}

// Differences compares the tree that was unpacked here with the published one,
// contents and all.
func (st *Staging) Differences(ctx context.Context) ([]tree.Difference, error) {
	var was bytes.Buffer
	if err := tree.RecordMapped(ctx, st.Dir, &was, true); err != nil {
		return nil, err
	}
	dir, err := st.s.openTree(st.s.place(layerDir, st.diffID))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return compare(ctx, dir, &was, true)
}

func (s *Store) openTree(place string) (*os.File, error) {
	return os.OpenFile(filepath.Join(place, treeDir), onlyDir|unix.O_NOFOLLOW, 0)
}

// compare returns the first differences of a tree from what it was.
func compare(ctx context.Context, dir *os.File, was io.Reader, contents bool) (list []tree.Difference, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := tree.RecordMapped(ctx, dir, w, contents)
		w.CloseWithError(err)
		done <- err
	}()
	err = tree.Diff(was, r, func(d tree.Difference) bool {
		list = append(list, d)
		return len(list) < maxDifferences
	})
	r.CloseWithError(io.ErrClosedPipe) // it may have been left in the middle
	cancel()
	recordErr := <-done
	if err == nil && len(list) < maxDifferences {
		err = recordErr
	}
	return list, err
}

// VerifyBlob hashes a blob of any size. The error is ErrDamaged when it is not
// what its digest says, and os.ErrNotExist without it.
func (s *Store) VerifyBlob(ctx context.Context, d oci.Digest) error {
	f, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer f.Close()
	h, buf := d.Hash(), make([]byte, 256<<10)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
	if err := d.Verify(h); err != nil {
		return fmt.Errorf("blob %s: %w: %w", d, ErrDamaged, err)
	}
	return nil
}

// BlobSize returns the size of a blob in bytes.
func (s *Store) BlobSize(d oci.Digest) (int64, error) {
	st, err := os.Lstat(s.place(blobDir, d))
	if err != nil {
		return 0, fmt.Errorf("blob %s: %w", d, err)
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("blob %s: %w: not a regular file", d, ErrDamaged)
	}
	return st.Size(), nil
}

// DropBlob removes a blob, which is damaged or can be fetched again.
func (s *Store) DropBlob(d oci.Digest) (int64, error) { return s.removeBlob(d) }

// Inventory is what there is in the store, whatever state it is in.
type Inventory struct {
	Blobs, Layers []oci.Digest
	Images        []Image
	// Damaged are the images whose records can't be read, with the reason.
	Damaged map[oci.Digest]error
	Names   []Name
	// BadNames tells of names that can't be read, by their files.
	BadNames map[string]error
}

// Inventory lists what there is.
func (s *Store) Inventory() (*Inventory, error) {
	v := &Inventory{Damaged: map[oci.Digest]error{}, BadNames: map[string]error{}}
	images, bad, err := s.readImages()
	if err != nil {
		return nil, err
	}
	v.Images = images
	for _, img := range bad {
		v.Damaged[img.id] = img.why
	}
	if v.Blobs, err = s.listBlobs(); err != nil {
		return nil, err
	}
	err = s.digests(layerDir, func(d oci.Digest) error {
		v.Layers = append(v.Layers, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	files, err := readNames(s.path(nameDir))
	for _, file := range files {
		if file[0] == '.' {
			continue
		}
		n, err := s.readName(file)
		if err == nil {
			v.Names = append(v.Names, n)
		} else if !errors.Is(err, os.ErrNotExist) {
			v.BadNames[file] = err
		}
	}
	return v, err
}

// Leftovers lists what killed commands left, and what nobody needs and is older
// than age, as paths below the root. A Collect removes it.
func (s *Store) Leftovers(age time.Duration) ([]string, error) {
	var all []string
	names, err := readNames(s.path(stagingDir))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := hold(context.Background(), s.path(stagingDir, name), onlyDir, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			f.Close()
			all = append(all, filepath.Join(stagingDir, name))
		}
	}
	parts, err := s.Unneeded(func(oci.Digest) bool { return false }, nil)
	if err != nil {
		return nil, err
	}
	temporary, err := s.temporary()
	if err != nil {
		return nil, err
	}
	for _, part := range append(parts, temporary...) {
		st, err := os.Lstat(s.path(part))
		if err == nil && time.Since(st.ModTime()) >= age {
			all = append(all, part)
		}
	}
	return all, nil
}
