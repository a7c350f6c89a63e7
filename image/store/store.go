// Package store keeps images on disk: blobs and layers by digest, downloads
// that wait to be resumed, image records and names.
//
//	blob/sha256/<hex>        manifests and configurations, verified
//	layer/sha256/<diff id>/  layer.json, the tree in diff/, and what it was in tree.gz
//	image/sha256/<id>/       image.json and notes beside it, one directory an image
//	name/<escaped name>      one JSON file a name
//	partial/sha256-<hex>     downloads under way or interrupted, with gaps;
//	                         .ranges behind the name: what of one is there
//	staging/sha256-<hex>/    layers being unpacked; who unpacks holds a lock on it
//	*.cache                  copies of the records, for long lists
//	lock                     shared by who pulls, exclusive for the collector
//
// What is published was verified and synced first and appears by a rename, so
// that a death at any instruction leaves, at worst, staging that nobody holds
// and files that no image refers to; Use and Collect remove them.
//
// Somebody who needs several locks takes them in this order: the store (Use),
// the image, the layer, the download, the names (the directory name/).
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/image/layer"
	"loper.run/image/oci"
	"loper.run/internal/atomicfile"
)

// Errors that callers tell apart. Absence is os.ErrNotExist.
var (
	// ErrPresent is returned by BeginLayer when the layer is in the store already.
	ErrPresent = errors.New("layer is already in the store")
	// ErrBusy is returned by Collect while somebody uses the store.
	ErrBusy = errors.New("image store is in use by another process")
	// ErrDamaged is wrapped in errors about content that is not what was published.
	ErrDamaged = errors.New("damaged")
)

// Store is an image store below one directory. Its methods may be called from
// several goroutines and several processes at once.
type Store struct {
	// Remove removes name below dir, a tree that may hold files of other ids;
	// nil means layer.Remove.
	Remove func(dir *os.File, name string) error
	// InUse returns the directories of layers that containers are made of, as
	// if those of some ids were gone. Such layers are kept whatever the records
	// say. nil means that there are none.
	InUse func(beside []string) ([]string, error)

	root string
}

// The directories below the root.
const (
	blobDir    = "blob"
	layerDir   = "layer"
	imageDir   = "image"
	nameDir    = "name"
	partialDir = "partial"
	stagingDir = "staging"
)

// Open opens the store at root and makes it when it is missing. It refuses a
// directory that somebody else owns or may write to.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make image store: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(root, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: root, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("image store %s: %w", root, unix.ENOTDIR)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("image store %s belongs to user %d, not to %d", root, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return nil, fmt.Errorf("image store %s can be written by others (mode %#o)", root, st.Mode&0o7777)
	}
	for _, d := range []string{blobDir, layerDir, imageDir, nameDir, partialDir, stagingDir} {
		if err := makeDir(filepath.Join(root, d)); err != nil {
			return nil, fmt.Errorf("make image store: %w", err)
		}
	}
	return &Store{root: root}, nil
}

// Root returns the store's absolute directory.
func (s *Store) Root() string { return s.root }

// path joins names that are digests or constants to the root.
func (s *Store) path(names ...string) string {
	return filepath.Join(append([]string{s.root}, names...)...)
}

// place is where content of a digest is kept.
func (s *Store) place(kind string, d oci.Digest) string {
	return s.path(kind, d.Algorithm().String(), d.Hex())
}

// flat is a digest as one name.
func flat(d oci.Digest) string { return d.Algorithm().String() + "-" + d.Hex() }

// makeDir makes one private directory, durably, unless it is there.
func makeDir(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// digests calls do with each digest that has a place in kind; foreign names are skipped.
func (s *Store) digests(kind string, do func(oci.Digest) error) error {
	for _, alg := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		names, err := readNames(s.path(kind, alg.String()))
		if err != nil {
			return err
		}
		for _, name := range names {
			d, err := oci.Parse(alg.String() + ":" + name)
			if err != nil {
				continue
			}
			if err := do(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// readNames lists a directory in no order; one that is missing is empty.
func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// remove removes a tree of a layer below dir.
func (s *Store) remove(dir, name string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if s.Remove != nil {
		return s.Remove(d, name)
	}
	return layer.Remove(d, name)
}

// readFile reads a regular file of at most max bytes, and nothing else.
func readFile(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrDamaged)
	}
	if st.Size() > max {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, max)
	}
	data := make([]byte, st.Size()+1)
	n := 0
	for n < len(data) {
		m, err := f.Read(data[n:])
		n += m
		if m == 0 || err != nil {
			break // what is missing is found by whoever parses it
		}
	}
	return data[:min(int64(n), st.Size())], nil
}
