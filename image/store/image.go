package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Image is the record of an image. While it exists its blobs and layers stay.
type Image struct {
	// ID is the digest of the configuration blob.
	ID oci.Digest `json:"id"`
	// Manifest is the digest of the manifest blob.
	Manifest oci.Digest `json:"manifest"`
	// Blobs are other blobs to keep, such as the index.
	Blobs []oci.Digest `json:"blobs,omitempty"`
	// Layers are the diff ids, lowest first.
	Layers []oci.Digest `json:"layers"`
	// Packed are the layers as the manifest lists them, usually compressed, so
	// that the very image can be handed on. Unlike the Blobs they may be gone.
	Packed []oci.Digest `json:"packed,omitempty"`
	// Digests are the repo@digest references it was pulled by.
	Digests []string `json:"digests,omitempty"`
	// Kept says that the image is whole and wanted though it has neither a name
	// nor a digest: it was loaded from a file or made here.
	Kept bool `json:"kept,omitempty"`
	// Signer says in one line who signed the image, "" when nobody is known to have.
	Signer string `json:"signer,omitempty"`
	// Size is that of the layers together, unpacked, in bytes.
	Size int64 `json:"size"`
	// Platform is what the configuration says that the image is for. Records of
	// older programs lack it.
	Platform oci.Platform `json:"platform,omitzero"`
	Created  time.Time    `json:"created"`
	PulledAt time.Time    `json:"pulledAt"`
}

const imageFile = "image.json"

// PutImage publishes a record, whose blobs and layers must be there; call it inside Use.
func (s *Store) PutImage(img Image) error {
	if img.ID.IsZero() {
		return errors.New("put image: it has no id")
	}
	for _, d := range append([]oci.Digest{img.ID, img.Manifest}, img.Blobs...) {
		if !s.hasBlob(d) {
			return fmt.Errorf("put image %s: blob %s: %w", img.ID, d, os.ErrNotExist)
		}
	}
	for _, d := range img.Layers {
		if _, err := s.Layer(d); err != nil {
			return fmt.Errorf("put image %s: %w", img.ID, err)
		}
	}
	dir := s.place(imageDir, img.ID)
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("put image: %w", err)
	}
	for {
		if err := makeDir(dir); err != nil {
			return fmt.Errorf("put image: %w", err)
		}
		f, err := hold(context.Background(), dir, onlyDir, unix.LOCK_SH)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted since
		}
		if err != nil {
			return fmt.Errorf("put image: %w", err)
		}
		defer f.Close()
		break
	}
	if err := atomicfile.WriteJSON(filepath.Join(dir, imageFile), img, 0o600, atomicfile.Durable); err != nil {
		return fmt.Errorf("put image: %w", err)
	}
	return nil
}

// Image returns a record, os.ErrNotExist when there is none.
func (s *Store) Image(id oci.Digest) (Image, error) {
	if id.IsZero() {
		return Image{}, fmt.Errorf("image without id: %w", os.ErrNotExist)
	}
	data, err := readFile(filepath.Join(s.place(imageDir, id), imageFile), maxRecord)
	return asImage(id, data, err)
}

// asImage makes a record of what its file has.
func asImage(id oci.Digest, data []byte, err error) (img Image, _ error) {
	if err != nil {
		return Image{}, fmt.Errorf("image %s: %w", id, err)
	}
	if err := decodeImage(data, &img); err != nil {
		return Image{}, fmt.Errorf("image %s: record is %w: %w", id, ErrDamaged, err)
	}
	if img.ID != id {
		return Image{}, fmt.Errorf("image %s: record is %w: it is of another image", id, ErrDamaged)
	}
	return img, nil
}

// FindImages returns the ids that begin with a hexadecimal prefix.
func (s *Store) FindImages(prefix string) (ids []oci.Digest, err error) {
	err = s.digests(imageDir, func(d oci.Digest) error {
		if strings.HasPrefix(d.Hex(), prefix) {
			if _, err := os.Lstat(filepath.Join(s.place(imageDir, d), imageFile)); err == nil {
				ids = append(ids, d)
			}
		}
		return nil
	})
	return ids, err
}

// damagedImage is a record that can't be read.
type damagedImage struct {
	id  oci.Digest
	why error
}

type damagedImages []damagedImage

func (l damagedImages) err() error {
	errs := make([]error, len(l))
	for i, d := range l {
		errs[i] = d.why
	}
	return errors.Join(errs...)
}

// Images returns all records in no order. Damaged ones are left out and told
// in the error, beside the good.
func (s *Store) Images() ([]Image, error) {
	all, bad, err := s.readImages()
	return all, errors.Join(bad.err(), err)
}

func (s *Store) readImages() (all []Image, bad damagedImages, err error) {
	for _, alg := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		dir, err := os.Open(s.path(imageDir, alg.String()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, bad, err
		}
		names, err := dir.Readdirnames(-1)
		images, damaged, rerr := readImagesIn(dir, alg, names)
		all, bad = append(all, images...), append(bad, damaged...)
		dir.Close()
		if err = errors.Join(err, rerr); err != nil {
			return all, bad, err
		}
	}
	return all, bad, nil
}

// readImagesIn reads the records of some of a directory's names. Those being
// made or deleted have none.
func readImagesIn(dir *os.File, alg oci.Algorithm, names []string) (all []Image, bad damagedImages, err error) {
	var ids []oci.Digest
	var files []string
	for _, name := range names {
		if id, err := oci.Parse(alg.String() + ":" + name); err == nil {
			ids, files = append(ids, id), append(files, name+"/"+imageFile)
		}
	}
	read, errs := make([]Image, len(files)), make([]error, len(files))
	bulk(dir, files, func(i int, data []byte, err error) { read[i], errs[i] = asImage(ids[i], data, err) })
	for i := range read {
		if errs[i] != nil {
			bad = append(bad, damagedImage{ids[i], errs[i]})
		} else if !read[i].ID.IsZero() {
			all = append(all, read[i])
		}
	}
	return all, bad, nil
}

// Touch notes that an image was used now. It is only a hint for what to drop
// first, so that nothing is told when it fails.
func (s *Store) Touch(id oci.Digest) {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(s.place(imageDir, id), imageFile), now, unix.AT_SYMLINK_NOFOLLOW)
}

// LastUsed is when an image was last made, pulled or touched.
func (s *Store) LastUsed(id oci.Digest) (time.Time, error) {
	st, err := os.Lstat(filepath.Join(s.place(imageDir, id), imageFile))
	if err != nil {
		return time.Time{}, fmt.Errorf("image %s: %w", id, err)
	}
	return st.ModTime(), nil
}

// LockImage keeps DeleteImage waiting until unlock; os.ErrNotExist without the image.
func (s *Store) LockImage(id oci.Digest) (unlock func(), err error) {
	f, err := s.lockImage(context.Background(), id, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// LockImageAlone is LockImage that waits for all who hold the lock, and lets
// nobody else have it.
func (s *Store) LockImageAlone(ctx context.Context, id oci.Digest) (unlock func(), err error) {
	f, err := s.lockImage(ctx, id, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (s *Store) lockImage(ctx context.Context, id oci.Digest, how int) (*os.File, error) {
	if id.IsZero() {
		return nil, fmt.Errorf("lock image without id: %w", os.ErrNotExist)
	}
	dir := s.place(imageDir, id)
	f, err := hold(ctx, dir, onlyDir, how)
	if err != nil {
		return nil, fmt.Errorf("lock image %s: %w", id, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, imageFile)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock image %s: %w", id, err)
	}
	return f, nil
}

// DeleteImage removes the names of an image and its record, when nobody holds
// its lock any more, for which it waits. Collect frees what it was made of.
// check, when not nil, is asked under the lock, and its error stops the deletion.
func (s *Store) DeleteImage(ctx context.Context, id oci.Digest, check func() error) error {
	f, err := s.lockImage(ctx, id, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer f.Close()
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	unlock, err := s.lockNames()
	if err != nil {
		return fmt.Errorf("delete image %s: %w", id, err)
	}
	defer unlock()
	if _, err := s.forget(func(d oci.Digest) bool { return d == id }); err != nil {
		return err
	}
	// The record first: without it the directory is nothing.
	dir := s.place(imageDir, id)
	if err := os.Remove(filepath.Join(dir, imageFile)); err != nil {
		return fmt.Errorf("delete image %s: %w", id, err)
	}
	if err := s.remove(filepath.Dir(dir), filepath.Base(dir)); err != nil {
		return fmt.Errorf("delete image %s: %w", id, err)
	}
	return nil
}
