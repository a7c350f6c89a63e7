package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"loper.run/image/oci"
)

// Incoming is a blob that is made or copied here. It has no name until it is
// published, so that a death leaves nothing of it.
type Incoming struct {
	*os.File

	s    *Store
	path string // where the file system knows no files without a name
}

// Incoming makes an empty file for a blob whose digest may not be known yet.
// Close it in any case.
func (s *Store) Incoming() (*Incoming, error) {
	dir := s.path(blobDir, oci.SHA256.String())
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make blob: %w", err)
	}
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err == nil {
		return &Incoming{File: f, s: s}, nil
	}
	// The collector removes it when it is left behind.
	if f, err = os.CreateTemp(dir, ".incoming.*"); err != nil {
		return nil, fmt.Errorf("make blob: %w", err)
	}
	return &Incoming{File: f, s: s, path: f.Name()}, nil
}

// Publish gives the blob, which the caller has verified, its name. Name and
// content are durable once the file system was synced: publish before
// Staging.Commit, which does that.
func (in *Incoming) Publish(d oci.Digest) error {
	if d.IsZero() {
		return errors.New("publish blob: it has no digest")
	}
	if err := in.publish(in.s.place(blobDir, d)); err != nil {
		return fmt.Errorf("publish blob %s: %w", d, err)
	}
	return nil
}

func (in *Incoming) publish(place string) error {
	if err := makeDir(filepath.Dir(place)); err != nil {
		return err
	}
	if in.path == "" {
		err := in.link(place)
		if !errors.Is(err, os.ErrExist) {
			return err
		}
		// What is there may be damaged, and only a rename replaces it.
		path := filepath.Join(filepath.Dir(place), "."+filepath.Base(place)+"."+strconv.Itoa(os.Getpid())+"."+strconv.Itoa(int(in.Fd())))
		if err := in.link(path); err != nil {
			return err
		}
		in.path = path
	}
	if err := os.Rename(in.path, place); err != nil {
		return err
	}
	in.path = ""
	return nil
}

func (in *Incoming) link(path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", in.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "blob", New: path, Err: err}
	}
	return nil
}

// Close forgets the blob, unless it was published.
func (in *Incoming) Close() error {
	if in.path != "" {
		os.Remove(in.path)
	}
	return in.File.Close()
}

// HasBlob reports whether a blob is there, without reading it.
func (s *Store) HasBlob(d oci.Digest) bool { return s.hasBlob(d) }
