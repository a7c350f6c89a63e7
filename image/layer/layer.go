// Package layer turns the tar stream of an OCI image layer into a directory
// that overlayfs can use as one lower layer (image-spec, layer.md).
//
// The stream is foreign: everything it names is reached through descriptors
// below the given directory, so nothing outside it is ever read or written.
package layer

import (
	"context"
	"io"
	"os"
)

// Options says how a layer is unpacked. The zero value is right for root.
type Options struct {
	// UserXattr is for an overlay mounted in a user namespace: opaque
	// directories are marked user.overlay.opaque instead of
	// trusted.overlay.opaque, and device nodes, which nobody can make there,
	// are skipped and counted.
	UserXattr bool
	// SingleID says that only the caller's own ids can own files: the owners
	// in the stream are ignored.
	SingleID bool
	Limits   Limits
}

// Limits bounds what one layer may cost. A field that is 0 means its default.
type Limits struct {
	// Bytes is the most that all regular files hold together; default 512 GiB.
	Bytes int64
	// Entries is the most entries of the stream; default 10 million.
	Entries int64
}

// Result tells what was unpacked.
type Result struct {
	// Bytes is what the regular files hold together, without hard links' second names.
	Bytes int64 `json:"bytes"`
	// Entries counts the stream's entries.
	Entries int64 `json:"entries"`
	// Devices counts the device nodes that were left out, and FirstDevice names one.
	Devices     int64  `json:"devices,omitempty"`
	FirstDevice string `json:"firstDevice,omitempty"`
	// Xattrs counts the extended attributes that were left out, because an
	// image may not set them or the file system cannot hold them.
	Xattrs int64 `json:"xattrs,omitempty"`
}

// Warning returns one line about what was left out, or "".
func (r Result) Warning() string { return "" }

// Unpack reads an uncompressed layer from tar to the end of the stream, trailing padding
// included (so that a hash fed by tar is complete), and builds it in dir, an
// empty directory. After an error dir holds a part of the layer: remove it.
func Unpack(ctx context.Context, dir *os.File, tar io.Reader, o Options) (Result, error) {
	panic("not yet")
}

// UnpackMapped is Unpack for an ordinary user: it runs in a child inside the
// user namespace that has the user's id mappings.
func UnpackMapped(ctx context.Context, dir *os.File, tar io.Reader, o Options) (Result, error) {
	panic("not yet")
}

// Decompress returns the tar stream inside r, whose compression mediaType
// tells; the generic docker types, and "", are told by their first bytes. It
// reads ahead of the caller. Close waits until the read of r that is under way
// returns, after which r is the caller's again: cancel a slow r first.
func Decompress(r io.Reader, mediaType string) (io.ReadCloser, error) { panic("not yet") }

// RemoveTree removes name below dir, whatever it is, following no link. It is
// no error when there is nothing.
func RemoveTree(dir *os.File, name string) error { panic("not yet") }
