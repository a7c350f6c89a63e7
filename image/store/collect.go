package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
	"loper.run/internal/flock"
)

// Freed tells what Collect removed.
type Freed struct {
	Layers, Blobs, Names, Staging, Partials int
	// Bytes is the size of the layers, blobs and partials.
	Bytes int64
	// Damaged tells of records that cannot be read. What their images are made
	// of stays as far as it is known.
	Damaged error
}

// tempKeep is how old a temporary file must be to count as left behind: nobody
// takes that long from creating one to renaming it.
const tempKeep = time.Hour

// Collect removes what no name, no image and no container leads to, staging that
// nobody holds, and downloads untouched for PartialKeep. The error is ErrBusy
// while anybody is inside Use.
func (s *Store) Collect(ctx context.Context) (Freed, error) {
	var freed Freed
	lock, err := flock.TryExclusive(s.path("lock"))
	if errors.Is(err, flock.ErrHeld) {
		return freed, ErrBusy
	}
	if err != nil {
		return freed, fmt.Errorf("collect: %w", err)
	}
	defer lock.Close()
	for _, step := range []func(context.Context, *Freed) error{s.collectStaging, s.collectContent, s.collectNames, s.collectPartials} {
		if err := step(ctx, &freed); err != nil {
			return freed, fmt.Errorf("collect: %w", err)
		}
	}
	return freed, nil
}

func (s *Store) collectStaging(_ context.Context, freed *Freed) (err error) {
	freed.Staging, err = s.sweep()
	return err
}

// collectContent removes the layers and blobs that nobody needs.
func (s *Store) collectContent(ctx context.Context, freed *Freed) error {
	needed, loose, damaged, err := s.needed(nil, nil)
	freed.Damaged = damaged
	if err != nil {
		return err
	}
	err = s.digests(layerDir, func(d oci.Digest) error {
		if err := ctx.Err(); err != nil || needed.layers[d] {
			return err
		}
		l, _ := s.readLayer(d)
		err := s.discard(s.place(layerDir, d))
		if errors.Is(err, flock.ErrHeld) {
			return nil
		}
		if err == nil {
			freed.Layers++
			freed.Bytes += l.Size
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range loose {
		if err := ctx.Err(); err != nil {
			return err
		}
		if needed.blobs[d] {
			continue
		}
		n, err := s.removeBlob(d)
		if err != nil {
			return err
		}
		freed.Blobs++
		freed.Bytes += n
	}
	return s.removeTemporary()
}

// needed finds what must stay, as if the images that without names and the
// containers of the ids beside were gone.
// loose are the blobs that no record names, some of which may be needed all the
// same. damaged tells of records that can't be read.
func (s *Store) needed(without func(oci.Digest) bool, beside []string) (r *reach, loose []oci.Digest, damaged, err error) {
	r = s.newReach()
	images, bad, err := s.readImages()
	if err != nil {
		return nil, nil, nil, err
	}
	for _, img := range images {
		if without == nil || !without(img.ID) {
			r.image(img)
		}
	}
	names, err := s.Names()
	damaged = errors.Join(err, bad.err())
	for _, n := range names {
		if without != nil && !n.List && len(n.keeping(func(d oci.Digest) bool { return !without(d) }).Images()) == 0 {
			continue
		}
		r.document(n.Manifest)
		for _, d := range n.Blobs {
			r.document(d)
		}
	}
	if s.InUse != nil {
		dirs, err := s.InUse(beside)
		if err != nil {
			return nil, nil, damaged, fmt.Errorf("what containers need: %w", err)
		}
		for _, dir := range dirs {
			if d, ok := s.layerOf(dir); ok {
				r.layers[d] = true
			}
		}
	}
	all, err := s.listBlobs()
	if err != nil {
		return nil, nil, damaged, err
	}
	for _, img := range bad {
		r.damaged(img.id, all)
	}
	for _, d := range all {
		if !r.blobs[d] {
			loose = append(loose, d)
		}
	}
	if len(loose) > 0 { // else there is no question that a document could answer
		r.follow()
		r.referrers(loose)
	}
	return r, loose, damaged, nil
}

// removeBlob removes a blob and returns its size in bytes.
func (s *Store) removeBlob(d oci.Digest) (int64, error) {
	path := s.place(blobDir, d)
	st, err := os.Lstat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// collectNames removes names of images that are no more, and the empty
// directories of images that were never finished.
func (s *Store) collectNames(_ context.Context, freed *Freed) error {
	there := map[oci.Digest]bool{}
	err := s.digests(imageDir, func(d oci.Digest) error {
		dir := s.place(imageDir, d)
		if _, err := os.Lstat(filepath.Join(dir, imageFile)); !errors.Is(err, os.ErrNotExist) {
			there[d] = true
			return nil
		}
		f, err := hold(context.Background(), dir, onlyDir, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			return nil // held, or nothing of ours
		}
		defer f.Close()
		return s.remove(filepath.Dir(dir), filepath.Base(dir))
	})
	if err != nil {
		return err
	}
	unlock, err := s.lockNames()
	if err != nil {
		return err
	}
	defer unlock()
	freed.Names, err = s.forget(func(id oci.Digest) bool { return !there[id] })
	return err
}

func (s *Store) collectPartials(_ context.Context, freed *Freed) error {
	return s.dropPartials(PartialKeep, freed)
}

// dropPartials removes the downloads that nobody has touched for so long.
func (s *Store) dropPartials(keep time.Duration, freed *Freed) error {
	names, err := readNames(s.path(partialDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.path(partialDir, name)
		if data, ok := strings.CutSuffix(path, notesSuffix); ok {
			if _, err := os.Lstat(data); err != nil {
				os.Remove(path) // of a download that is no more
			}
			continue
		}
		st, err := os.Lstat(path)
		if err != nil || time.Since(st.ModTime()) < keep {
			continue
		}
		if st.Mode().IsRegular() {
			f, err := hold(context.Background(), path, os.O_RDWR, unix.LOCK_EX|unix.LOCK_NB)
			if err != nil {
				continue
			}
			defer f.Close()
		}
		if err := s.remove(s.path(partialDir), name); err != nil {
			return err
		}
		os.Remove(path + notesSuffix)
		freed.Partials++
		freed.Bytes += st.Size()
	}
	return nil
}

// removeTemporary removes what writes of files that were killed left.
func (s *Store) removeTemporary() error {
	files, err := s.temporary()
	for _, file := range files {
		path := s.path(file)
		if st, err := os.Lstat(path); err != nil || time.Since(st.ModTime()) < tempKeep {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// temporary lists files that are being written, or were when their writer was
// killed, as paths below the root.
func (s *Store) temporary() (files []string, err error) {
	dirs := []string{nameDir}
	for _, kind := range []string{blobDir, imageDir} {
		for _, alg := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
			dirs = append(dirs, filepath.Join(kind, alg.String()))
		}
	}
	err = s.digests(imageDir, func(d oci.Digest) error {
		dirs = append(dirs, part(imageDir, d))
		return nil
	})
	for _, dir := range dirs {
		names, _ := readNames(s.path(dir))
		for _, name := range names {
			file := filepath.Join(dir, name)
			if name[0] != '.' {
				continue
			}
			if st, err := os.Lstat(s.path(file)); err == nil && st.Mode().IsRegular() {
				files = append(files, file)
			}
		}
	}
	return files, err
}
