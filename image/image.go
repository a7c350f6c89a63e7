// Package image pulls, keeps and finds images: the OCI image specification's
// room. It knows nothing of containers.
package image

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"loper.run/image/oci"
	"loper.run/image/progress"
	"loper.run/image/store"
	"loper.run/image/trust"
	"loper.run/internal/userns"
)

// ErrNotFound is matched by errors about an image that is not in the store, or
// that its registry does not have.
var ErrNotFound = errors.New("no such image")

// ErrDamaged is wrapped in errors about what is in the store and not as it was
// put there. A Check finds it.
var ErrDamaged = store.ErrDamaged

// ErrBusy is matched by errors about what has to wait until nobody else uses the
// store.
var ErrBusy = store.ErrBusy

// Progress shows a pull under way; see package progress.
type Progress = progress.Display

// Store holds the images of one user of one machine. Its methods may be called
// from several goroutines and processes at once.
type Store struct {
	// Access is how registries are reached; it is set before the first of them is.
	Access Access

	files *store.Store
	// mapped is set for an ordinary user, whose layers are unpacked inside the
	// user namespace with all ids.
	mapped bool
}

// Image is an image that can be run: its layers are there.
type Image struct {
	ID       oci.Digest // digest of the configuration
	Manifest oci.Digest
	Names    []string // familiar names with tags, such as busybox:latest
	Digests  []string // familiar names with digests, repo@sha256:…
	Platform oci.Platform
	// Config is foreign: check each field where it is used.
	Config  oci.ImageConfig
	Author  string
	History []oci.History
	Created time.Time
	Size    int64  // bytes of the unpacked files
	Signer  string // who signed it, in one line; "" is unsigned
	// Verdicts are what was decided about using it, one for each name by which
	// it came; only Resolve reads them.
	Verdicts []trust.Verdict
	DiffIDs  []oci.Digest // layers, lowest first
	Layers   []string     // their absolute directories, lowest first
	Builtin  string       // "", "host" or "hello"
	// PulledAs is the full name that a pull just found it by.
	PulledAs string
}

// Open opens the store below root, making it when it is missing.
func Open(root string) (*Store, error) {
	files, err := store.Open(root)
	if err != nil {
		return nil, err
	}
	return &Store{files: files, mapped: userns.Rootless()}, nil
}

// notFound says which name led nowhere.
func notFound(name string) error { return fmt.Errorf("%w: %.300s", ErrNotFound, name) }

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }

// short returns the twelve digits that stand for a digest in messages.
func short(d oci.Digest) string { return d.Short() }

// withoutAlgorithm strips what may stand before an image's id.
func withoutAlgorithm(id string) string {
	return strings.TrimPrefix(strings.TrimPrefix(id, "sha256:"), "sha512:")
}

// isIDPrefix reports whether s may be the beginning of an image's id.
func isIDPrefix(s string) bool {
	return len(s) >= 1 && len(s) <= 128 && strings.Trim(s, "0123456789abcdef") == ""
}
