package layer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"loper.run/internal/inflate"
)

const (
	// maxWindow is the most memory in bytes that a zstd frame may ask for;
	// 'zstd --ultra --long=27' needs this much.
	maxWindow = 128 << 20
	// A stream may expand without bound up to bombFloor bytes, and from there
	// on maxRatio times. gzip itself ends at 1032, zstd far above.
	bombFloor = 4 << 30
	maxRatio  = 250
)

// ErrBomb is returned when a small stream expands beyond what a layer may.
var ErrBomb = errors.New("it expands too much to be a layer")

// Decompress returns the tar stream inside r, whose compression mediaType
// tells; the docker types, which some builders use for any, and "" are told by
// their first bytes. It reads and decompresses ahead of the caller. Close waits until
// the read of r that is under way returns, after which r is the caller's
// again: cancel a slow r first.
func Decompress(r io.Reader, mediaType string) (io.ReadCloser, error) {
	return decompress(r, mediaType, bombFloor, maxRatio)
}

func decompress(r io.Reader, mediaType string, floor, ratio int64) (io.ReadCloser, error) {
	kind, err := compression(mediaType)
	if err != nil {
		return nil, err
	}
	in := &counter{r: r}
	buf := bufio.NewReaderSize(in, 256<<10)
	if kind == sniff {
		head, err := buf.Peek(4)
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read layer: %w", err)
		}
		kind = magic(head)
	}
	var out io.Reader = buf
	done := func() {}
	switch kind {
	case gzipped:
		// It reads the header itself, not before it is wanted. What follows a
		// member must be another one: garbage is an error.
		out = inflate.NewReader(buf)
	case zstandard:
		z, err := zstd.NewReader(buf, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("read zstd: %w", err)
		}
		out, done = z, z.Close
	}
	if kind != plain {
		out = &fuse{r: out, in: in, floor: floor, ratio: ratio}
	}
	return newAhead(out, done), nil
}

// Bound returns what open makes of in, as a stream that ends with ErrBomb as
// those of Decompress do.
func Bound(in io.Reader, open func(io.Reader) io.Reader) io.Reader {
	c := &counter{r: in}
	return &fuse{r: open(c), in: c, floor: bombFloor, ratio: maxRatio}
}

type kind int

const (
	plain kind = iota
	gzipped
	zstandard
	sniff
)

// compression reads a layer's media type (image-spec, layer.md and
// media-types.md; Docker's image manifest, version 2, schema 2).
func compression(mediaType string) (kind, error) {
	switch t, _, _ := strings.Cut(mediaType, ";"); t {
	case "":
		return sniff, nil
	case "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar":
		return plain, nil
	case "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip":
		return gzipped, nil
	case "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return zstandard, nil
	default:
		if strings.HasPrefix(t, "application/vnd.docker.image.rootfs.") {
			return sniff, nil
		}
	}
	return 0, fmt.Errorf("layer has the unknown media type %s", quote(mediaType))
}

func magic(head []byte) kind {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzipped
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstandard
	case len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}):
		return zstandard // a skippable frame comes first
	}
	return plain
}

// counter counts what is read, and tells so once in step bytes.
type counter struct {
	r          io.Reader
	n, telling int64
	step       int64 // 0: never
	told       func(int64) error
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	if c.step > 0 && c.n-c.telling >= c.step {
		c.telling = c.n
		if terr := c.told(c.n); err == nil {
			err = terr
		}
	}
	return n, err
}

// fuse ends a stream that came from far fewer bytes.
type fuse struct {
	r            io.Reader
	in           *counter
	n            int64
	floor, ratio int64
}

func (f *fuse) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	f.n += int64(n)
	if f.n > f.floor && f.n/f.ratio > f.in.n {
		return 0, fmt.Errorf("%d bytes have become more than %d: %w", f.in.n, f.n, ErrBomb)
	}
	return n, err
}
