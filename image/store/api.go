package store

import (
	"context"
	"io"
	"os"
	"time"

	"loper.run/image/oci"
)

// Use keeps the collector out until release is called: everything found or
// put in between stays. It waits while a collector runs.
func (s *Store) Use(ctx context.Context) (release func(), err error) { panic("not yet") }

// PutBlob verifies data against d and publishes it, synced.
func (s *Store) PutBlob(d oci.Digest, data []byte) error { panic("not yet") }

// Blob returns a blob of at most max bytes, verified; os.ErrNotExist without it, ErrDamaged when it is not what it was.
func (s *Store) Blob(d oci.Digest, max int64) ([]byte, error) { panic("not yet") }

// Partial opens the download of d, which the caller alone then holds; it waits
// for whoever has it. Take the layer (BeginLayer) first: who waited finds it present.
func (s *Store) Partial(ctx context.Context, d oci.Digest) (*Partial, error) { panic("not yet") }

// Partial is the kept part of a download. It isn't verified: feed Prefix to the same hash and unpacker as the rest.
type Partial struct{ f *os.File }

// Size is the number of bytes kept.
func (p *Partial) Size() int64 { panic("not yet") }

// Prefix reads the bytes that were kept when the partial was opened.
func (p *Partial) Prefix() io.Reader { panic("not yet") }

// Write appends.
func (p *Partial) Write(b []byte) (int, error) { panic("not yet") }

// Reset forgets all bytes, which have proved wrong.
func (p *Partial) Reset() error { panic("not yet") }

// Remove ends a download that is complete (before Staging.Commit, so that a sync needn't write it out). It closes too.
func (p *Partial) Remove() error { panic("not yet") }

// Close keeps the bytes for the next try; harmless after Remove.
func (p *Partial) Close() error { panic("not yet") }

// Layer is an unpacked layer.
type Layer struct {
	// DiffID is the digest of the uncompressed tar.
	DiffID oci.Digest `json:"diffID"`
	// Size is what its regular files hold, in bytes.
	Size      int64     `json:"size"`
	Entries   int64     `json:"entries"`
	CreatedAt time.Time `json:"createdAt"`
	// Dir is the absolute directory of the tree.
	Dir string `json:"-"`
}

// Layer returns a published layer, os.ErrNotExist when there is none.
func (s *Store) Layer(diffID oci.Digest) (Layer, error) { panic("not yet") }

// BeginLayer returns an empty directory to unpack a layer into, which the
// caller alone holds until Commit or Abort. It waits while another process
// unpacks the same layer; ErrPresent when the layer is (then) there.
func (s *Store) BeginLayer(ctx context.Context, diffID oci.Digest) (*Staging, error) {
	panic("not yet")
}

// Staging is a layer being unpacked.
type Staging struct {
	// Dir is the open directory of the tree.
	Dir *os.File
}

// Commit syncs and publishes the layer, whose digest the caller has verified.
func (st *Staging) Commit(size, entries int64) (Layer, error) { panic("not yet") }

// Abort removes what was unpacked; harmless after Commit (so: defer it).
func (st *Staging) Abort() error { panic("not yet") }

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
	// Digests are the repo@digest references it was pulled by.
	Digests []string `json:"digests,omitempty"`
	// Size is that of the layers together, unpacked, in bytes.
	Size     int64     `json:"size"`
	Created  time.Time `json:"created"`
	PulledAt time.Time `json:"pulledAt"`
}

// PutImage publishes a record, whose blobs and layers must be there; call it inside Use.
func (s *Store) PutImage(img Image) error { panic("not yet") }

// Image returns a record, os.ErrNotExist when there is none.
func (s *Store) Image(id oci.Digest) (Image, error) { panic("not yet") }

// FindImages returns the ids that begin with the hexadecimal prefix.
func (s *Store) FindImages(prefix string) ([]oci.Digest, error) { panic("not yet") }

// Images returns all records in no order; damaged ones are left out and told in the error, beside the good.
func (s *Store) Images() ([]Image, error) { panic("not yet") }

// LockImage keeps DeleteImage waiting until unlock; os.ErrNotExist without the image.
func (s *Store) LockImage(id oci.Digest) (unlock func(), err error) { panic("not yet") }

// DeleteImage removes a record and the names that point at it, when no one holds its lock, for which it waits; then Collect frees the rest.
// check, when not nil, is asked under the lock, and its error stops the deletion.
func (s *Store) DeleteImage(ctx context.Context, id oci.Digest, check func() error) error {
	panic("not yet")
}

// Name says which image a name means.
type Name struct {
	// Name is the whole reference, such as docker.io/library/busybox:latest.
	Name string `json:"name"`
	// Image is the image's ID.
	Image oci.Digest `json:"image"`
	// Manifest is what the name stood for at the registry: the digest of the manifest or index.
	Manifest oci.Digest `json:"manifest"`
}

// SetName gives an image, which must exist, a name, taking it from another.
func (s *Store) SetName(n Name) error { panic("not yet") }

// Name looks a name up; os.ErrNotExist.
func (s *Store) Name(name string) (Name, error) { panic("not yet") }

// DeleteName removes a name; os.ErrNotExist.
func (s *Store) DeleteName(name string) error { panic("not yet") }

// Names returns all names, sorted; damaged ones are left out and told in the error.
func (s *Store) Names() ([]Name, error) { panic("not yet") }

// Freed tells what Collect removed.
type Freed struct {
	Layers, Blobs, Names, Staging, Partials int
	// Bytes is the size of the layers, blobs and partials.
	Bytes int64
}

// Collect removes what no image refers to, staging that nobody holds, and
// downloads untouched for PartialKeep; ErrBusy while anybody is inside Use.
func (s *Store) Collect(ctx context.Context) (Freed, error) { panic("not yet") }

// PartialKeep is how long an interrupted download waits to be resumed.
const PartialKeep = 7 * 24 * time.Hour
