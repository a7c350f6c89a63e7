// Package archive reads and writes images as files: the tar of docker save in
// all its forms, OCI layouts as a directory or a tar (image-layout.md), and the
// plain directory of skopeo's dir: transport.
//
// An archive is foreign. Its names are keys of a map and never paths; what they
// stand for is a range of bytes, which whoever uses it has to verify.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"loper.run/image/oci"
)

// Limits on what an archive may be made of. Real ones stay far below.
const (
	maxEntries = 100_000 // of a tar
	maxName    = 4096    // bytes of an entry's name
	maxImages  = oci.MaxEntries
	maxNames   = 100     // of one image
	maxLinks   = 16      // from one entry to the next
	maxIndex   = 4 << 20 // bytes of index.json, manifest.json or repositories
)

// ErrFormat is matched by errors about a file that is no archive of images.
var ErrFormat = errors.New("not an archive of images")

// Image is one image of an archive, or several of several platforms.
type Image struct {
	// Names are as the archive has them, such as busybox:latest; foreign.
	Names []string
	// Target is the index or manifest.
	Target oci.Descriptor
}

// Archive is an open archive.
type Archive struct {
	Images []Image
	// Form is how it is laid out. The tar of a docker that writes an OCI layout
	// too is a DockerArchive.
	Form Form
	// Path is where it is, absolute and without links; "" for what came through
	// a pipe.
	Path string

	files files
	// blobs are those that have no place of their own: of docker's classic form.
	blobs map[oci.Digest]Content
	// place names the file of a digest.
	place func(oci.Digest) string
}

// files is what an archive has by name. A name is a slash-separated path of the
// archive's own.
type files interface {
	// open returns a regular file; os.ErrNotExist without it.
	open(name string) (Content, error)
	Close() error
}

// Content is a piece of an open file, or bytes in memory. It can be read
// several times at once.
type Content struct {
	File   *os.File // nil: in memory
	Offset int64    // in File
	Size   int64    // bytes

	memory []byte
	own    bool // the file is open for this content alone
}

// Reader returns a new reader of the whole content.
func (c Content) Reader() io.Reader {
	if c.File == nil {
		return bytes.NewReader(c.memory)
	}
	return io.NewSectionReader(c.File, c.Offset, c.Size)
}

// Close frees what the content alone holds.
func (c Content) Close() error {
	if c.own {
		return c.File.Close()
	}
	return nil
}

// all reads the content when it has at most limit bytes.
func (c Content) all(limit int64) ([]byte, error) {
	if c.Size > limit {
		return nil, fmt.Errorf("it has %d bytes, more than %d", c.Size, limit)
	}
	data := make([]byte, c.Size)
	_, err := io.ReadFull(c.Reader(), data)
	return data, err
}

// Close closes the archive and the file it is in.
func (a *Archive) Close() error { return a.files.Close() }

// Open returns the content of a digest, not yet verified: whoever reads it has
// to. It checks the size. The error matches os.ErrNotExist without it.
func (a *Archive) Open(d oci.Descriptor) (Content, error) {
	c, known := a.blobs[d.Digest]
	if !known {
		if d.Digest.IsZero() || a.place == nil {
			return c, fmt.Errorf("blob %s: %w", d.Digest, os.ErrNotExist)
		}
		var err error
		if c, err = a.files.open(a.place(d.Digest)); err != nil {
			return c, fmt.Errorf("blob %s: %w", d.Digest, err)
		}
	}
	if c.Size != d.Size {
		c.Close()
		return Content{}, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", d.Digest, c.Size, d.Size)
	}
	return c, nil
}

// Small returns a content of at most limit bytes, verified.
func (a *Archive) Small(d oci.Descriptor, limit int64) ([]byte, error) {
	c, err := a.Open(d)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	data, err := c.all(limit)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	h := d.Digest.Hash()
	h.Write(data)
	if err := d.Digest.Verify(h); err != nil {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return data, nil
}

// Read opens the archive in f, a regular file, which becomes the archive's.
// What is compressed, or cannot be read in any order, is first copied to a file
// without a name below the directory temp, which is for nobody else.
func Read(ctx context.Context, f *os.File, temp string) (*Archive, error) {
	path := realPath(f)
	f, err := seekable(ctx, f, temp)
	if err != nil {
		return nil, err
	}
	t, err := readIndex(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return recognize(ctx, t, path)
}

// realPath asks the kernel where an open file is.
func realPath(f *os.File) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || !filepath.IsAbs(path) {
		return ""
	}
	return path
}

// ReadDir opens an OCI layout, or a plain directory with one image.
func ReadDir(ctx context.Context, path string) (*Archive, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, err
	}
	if f, err := d.root.Open("."); err == nil {
		path = realPath(f)
		f.Close()
	}
	return recognize(ctx, d, path)
}

// recognize finds out what the files are. An OCI layout comes first: it has the
// digests of what docker's own list beside it only names.
func recognize(ctx context.Context, from files, path string) (*Archive, error) {
	a := &Archive{files: from, Path: path}
	_, dir := from.(*directory)
	var err error
	switch {
	case has(from, "oci-layout"):
		switch {
		case dir:
			a.Form = OCIDir
		case has(from, "manifest.json"):
			a.Form = DockerArchive
		default:
			a.Form = OCIArchive
		}
		err = a.readLayout()
	case has(from, "version"):
		a.Form = DockerDir
		err = a.readPlain()
	case has(from, "manifest.json"):
		a.Form = DockerArchive
		err = a.readDocker(ctx)
	case has(from, "repositories"):
		err = fmt.Errorf("%w that still is read: it was saved by a docker older than 1.10", ErrFormat)
	default:
		err = fmt.Errorf("%w: it has neither manifest.json nor an OCI layout; 'loper import' takes a root file system", ErrFormat)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

func has(from files, name string) bool {
	c, err := from.open(name)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// file reads a small file of the archive.
func file(from files, name string, limit int64) ([]byte, error) {
	c, err := from.open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer c.Close()
	data, err := c.all(limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}
