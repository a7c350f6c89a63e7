package inflate

import (
	"errors"
	"hash/crc32"
	"io"
)

// Errors of the frame around the compressed data (RFC 1952).
var (
	ErrHeader   = errors.New("gzip: invalid header")
	ErrChecksum = errors.New("gzip: invalid checksum")
)

// Reader decompresses gzip, all members as one stream.
type Reader struct {
	d       decoder
	started bool
	sum     uint32 // of what the member has given
	size    uint32 // the same in bytes, modulo 1<<32
	err     error  // comes when everything before it was read
}

// NewReader reads from r, up to its end. The first header is read by Read.
func NewReader(r io.Reader) *Reader {
	z := &Reader{}
	z.d.reset(r)
	return z
}

// Read gives what was decompressed, and an error where it comes: ErrHeader,
// ErrCorrupt, ErrChecksum, io.ErrUnexpectedEOF for a stream that is cut off, or
// one of the source's.
func (z *Reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for z.d.given == z.d.op {
		if z.err != nil {
			return 0, z.err
		}
		z.err = z.next()
	}
	n := copy(b, z.d.out[z.d.given:z.d.op])
	z.d.given += n
	return n, nil
}

// next makes more bytes, of this member or another one.
func (z *Reader) next() error {
	d := &z.d
	if !z.started || d.block == finished {
		if z.started {
			if err := z.trailer(); err != nil {
				return err
			}
		}
		if err := z.header(); err != nil {
			return err
		}
		d.begin()
		z.started, z.sum, z.size = true, 0, 0
	}
	err := d.fill()
	made := d.out[d.given:d.op]
	z.sum = crc32.Update(z.sum, crc32.IEEETable, made)
	z.size += uint32(len(made))
	return err
}

func (z *Reader) trailer() error {
	sum, err := z.d.take(32)
	if err != nil {
		return err
	}
	size, err := z.d.take(32)
	if err != nil {
		return err
	}
	if sum != z.sum || size != z.size {
		return ErrChecksum
	}
	return nil
}

// Flags of a header.
const (
	hasSum     = 1 << 1
	hasExtra   = 1 << 2
	hasName    = 1 << 3
	hasComment = 1 << 4
)

// maxText is the longest name or comment in bytes, its NUL included.
const maxText = 512

// header reads a member's header. The error is io.EOF when there is none.
func (z *Reader) header() error {
	h := header{d: &z.d}
	first := h.byte()
	if h.err == io.ErrUnexpectedEOF && z.d.err == io.EOF {
		return io.EOF
	}
	if h.err == nil && (first != 0x1f || h.byte() != 0x8b || h.byte() != 8) && h.err == nil {
		return ErrHeader
	}
	flags := h.byte()
	for range 6 { // time, level, system
		h.byte()
	}
	if flags&hasExtra != 0 {
		for n := int(h.byte()) | int(h.byte())<<8; n > 0 && h.err == nil; n-- {
			h.byte()
		}
	}
	for _, text := range []byte{hasName, hasComment} {
		if flags&text == 0 {
			continue
		}
		for n := 0; h.byte() != 0; n++ {
			if h.err == nil && n == maxText-1 {
				return ErrHeader
			}
		}
	}
	if flags&hasSum != 0 {
		want := h.sum & 0xffff
		if got := uint32(h.byte()) | uint32(h.byte())<<8; h.err == nil && got != want {
			return ErrHeader
		}
	}
	return h.err
}

// header reads single bytes; after an error they are 0.
type header struct {
	d   *decoder
	sum uint32
	err error
}

func (h *header) byte() byte {
	if h.err != nil {
		return 0
	}
	var v uint32
	if v, h.err = h.d.take(8); h.err != nil {
		return 0
	}
	b := [1]byte{byte(v)}
	h.sum = crc32.Update(h.sum, crc32.IEEETable, b[:])
	return b[0]
}
