// Package layer turns the tar stream of an OCI image layer into a directory
// that overlayfs can use as one lower layer (image-spec, layer.md).
//
// The stream is foreign: everything it names is reached through descriptors
// below the given directory, so nothing outside it is ever read or written.
package layer

import (
	"context"
	"fmt"
	"io"
	"os"

	"loper.run/image/oci"
)

// Options says how a layer is unpacked. The zero value is right for root.
type Options struct {
	// UserXattr is for an overlay mounted in a user namespace: opaque
	// directories are marked user.overlay.opaque instead of
	// trusted.overlay.opaque.
	UserXattr bool `json:"userXattr,omitempty"`
	// SingleID says that only the caller's own ids can own files: the owners
	// in the stream are ignored.
	SingleID bool   `json:"singleID,omitempty"`
	Limits   Limits `json:"limits,omitzero"`
}

// Limits bounds what one layer may cost. A field that is 0 means its default.
type Limits struct {
	// Bytes is the most that all regular files hold together, holes
	// included; default 512 GiB.
	Bytes int64 `json:"bytes,omitempty"`
	// Entries is the most entries of the stream; default 10 million.
	Entries int64 `json:"entries,omitempty"`
}

// or returns the limits with their defaults.
func (l Limits) or() Limits {
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	if l.Entries == 0 {
		l.Entries = defaultEntries
	}
	return l
}

const (
	defaultBytes   = 512 << 30
	defaultEntries = 10_000_000

	// Linux takes no longer name (NAME_MAX), path or link target (PATH_MAX
	// with its NUL), so a longer one can only be meant to do harm.
	maxName = 255
	maxPath = 4095
	// maxDepth is the most directories above an entry.
	maxDepth = 512
	// maxPending bounds, in bytes, what is remembered of directories until the
	// end, when their times and final modes are set.
	maxPending = 256 << 20
	// maxTrailer is the most padding after the end of the archive, in bytes.
	maxTrailer = 1 << 30
	// checkFree is the size in bytes from which a file is compared with the
	// free space before any of it is written.
	checkFree = 64 << 20
)

// Result tells what was unpacked.
type Result struct {
	// Bytes is what the regular files hold together; a hard link counts once.
	Bytes int64 `json:"bytes"`
	// Entries counts the stream's entries.
	Entries int64 `json:"entries"`
	// DiffID is the digest of the uncompressed tar; only UnpackFile tells it.
	DiffID oci.Digest `json:"diffID,omitzero"`
	// Devices counts the device nodes that were left out because only root
	// can make them, and FirstDevice names one.
	Devices     int64  `json:"devices,omitempty"`
	FirstDevice string `json:"firstDevice,omitempty"`
	// Xattrs counts the extended attributes that were left out, because an
	// image may not set them or the file system cannot hold them.
	Xattrs int64 `json:"xattrs,omitempty"`
}

// Warning returns one line about what was left out and may be missed, or "".
func (r Result) Warning() string {
	switch r.Devices {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("device node %s is left out: only root can make it", quote(r.FirstDevice))
	}
	return fmt.Sprintf("%d device nodes (%s …) are left out: only root can make them", r.Devices, quote(r.FirstDevice))
}

// Unpack reads an uncompressed layer from tar to the end of the stream, the
// padding after the archive included (so that a hash fed by tar is complete),
// and builds it in dir, an empty directory. After an error dir holds a part of
// the layer: remove it.
func Unpack(ctx context.Context, dir *os.File, tar io.Reader, o Options) (Result, error) {
	u, err := newUnpacker(ctx, dir, tar, o)
	if err != nil {
		return Result{}, fmt.Errorf("unpack layer: %w", err)
	}
	defer u.close()
	if err := u.run(); err != nil {
		return u.res, fmt.Errorf("unpack layer: %w", err)
	}
	return u.res, nil
}
