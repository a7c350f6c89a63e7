// Package store keeps images on disk: blobs and layers by digest, downloads
// that wait to be resumed, image records and names.
//
//	blob/sha256/<hex>        manifests and configurations, verified
//	layer/sha256/<diff id>/  layer.json, and the tree in diff/
//	image/sha256/<id>/       image.json, one directory an image
//	name/<escaped name>      one JSON file a name
//	partial/sha256-<hex>     downloads under way or interrupted
//	staging/sha256-<hex>/    layers being unpacked; who unpacks holds a lock on it
//	lock                     shared by who pulls, exclusive for the collector
//
// What is published was verified and synced first and appears by a rename, so
// that a death at any instruction leaves, at worst, staging that nobody holds
// and files that no image refers to; Collect removes both.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart. Absence is os.ErrNotExist.
var (
	// ErrPresent is returned by BeginLayer when the layer is in the store already.
	ErrPresent = errors.New("layer is already in the store")
	// ErrBusy is returned by Collect while another process pulls.
	ErrBusy = errors.New("image store is in use by another process")
	// ErrDamaged is wrapped in errors about content that is not what was published.
	ErrDamaged = errors.New("damaged")
)

// Store is an image store below one directory. Its methods may be called from
// several goroutines and several processes at once.
type Store struct {
	// Remove removes name below dir, a tree that may hold files of other ids;
	// nil means that the caller's own rights are enough.
	Remove func(dir *os.File, name string) error

	root string
}

var directories = []string{"blob", "layer", "image", "name", "partial", "staging"}

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
	for _, d := range directories {
		if err := os.Mkdir(filepath.Join(root, d), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("make image store: %w", err)
		}
	}
	return &Store{root: root}, nil
}

// Root returns the store's absolute directory.
func (s *Store) Root() string { return s.root }
