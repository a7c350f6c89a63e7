package pack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// page is what holes are looked for in, in bytes.
	page = 4 << 10
	// minHole is the least that counts as a hole, minHoles what the holes of a
	// file must have together for the form of a tar that knows them.
	minHole  = 64 << 10
	minHoles = 1 << 20
)

// span is a range of a file that holds something.
type span struct{ off, length int64 }

// spans finds what a file holds between holes; nil when it isn't worth while.
// What is a hole depends on the bytes alone, since no two file systems keep
// them alike; what the file system says only spares reading zeros.
func (p *packer) spans(f *os.File, size int64) ([]span, error) {
	var found []span
	holes, end := int64(0), int64(0) // end of the last span
	add := func(off, length int64) {
		if gap := off - end; len(found) > 0 && gap < minHole {
			found[len(found)-1].length = off + length - found[len(found)-1].off
		} else {
			if gap < minHole {
				off, length = end, length+gap
				gap = 0
			}
			holes += gap
			found = append(found, span{off, length})
		}
		end = off + length
	}
	for off := int64(0); off < size; {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		if next, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); err == unix.ENXIO {
			break // nothing but a hole
		} else if err == nil && next > off {
			off = next &^ (page - 1)
		}
		b := p.buf[:min(size-off, int64(len(p.buf)))]
		n, err := f.ReadAt(b, off)
		if err != nil && err != io.EOF || n == 0 {
			return nil, err
		}
		for i := 0; i < n; i += page {
			if piece := b[i:min(i+page, n)]; !isZero(piece) {
				add(off+int64(i), int64(len(piece)))
			}
		}
		off += int64(n)
	}
	if gap := size - end; gap >= minHole {
		holes += gap
	} else if len(found) > 0 {
		found[len(found)-1].length += gap
	}
	if holes < minHoles {
		return nil, nil
	}
	if found == nil {
		found = []span{}
	}
	return found, nil
}

func isZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// sparse writes a file in the PAX form with holes, version 1.0 of GNU tar: the
// list of what is there comes first in the data.
func (p *packer) sparse(h *tar.Header, f *os.File, spans []span) error {
	// A last empty span says where the file ends.
	if n := len(spans); n == 0 || spans[n-1].off+spans[n-1].length < h.Size {
		spans = append(spans, span{h.Size, 0})
	}
	list := strconv.AppendInt(nil, int64(len(spans)), 10)
	list = append(list, '\n')
	stored := int64(0)
	for _, s := range spans {
		list = fmt.Appendf(list, "%d\n%d\n", s.off, s.length)
		stored += s.length
	}
	list = append(list, make([]byte, -len(list)&(block-1))...)
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": h.Name, "GNU.sparse.realsize": strconv.FormatInt(h.Size, 10),
		"size": strconv.FormatInt(stored+int64(len(list)), 10), "uid": strconv.Itoa(h.Uid), "gid": strconv.Itoa(h.Gid),
		"mtime": strconv.FormatInt(h.ModTime.Unix(), 10),
	}
	maps.Copy(records, h.PAXRecords)
	var body []byte
	for _, key := range slices.Sorted(maps.Keys(records)) {
		body = appendRecord(body, key, records[key])
	}
	if err := p.emitTyped('x', &tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/sparse", Size: int64(len(body)), Mode: 0o644}); err != nil {
		return err
	}
	if err := p.write(append(body, make([]byte, -len(body)&(block-1))...)); err != nil {
		return err
	}
	// All that may be too large for this header is in the records.
	plain := &tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/sparse", Mode: h.Mode, Size: min(stored+int64(len(list)), 8<<30-1)}
	if err := p.emitTyped(tar.TypeReg, plain); err != nil {
		return err
	}
	if err := p.write(list); err != nil {
		return err
	}
	for i, s := range spans {
		whole := int64(0) // padding comes after the last
		if i == len(spans)-1 {
			whole = stored
		}
		if err := p.copy(f, s.off, s.length, whole); err != nil {
			return err
		}
	}
	return nil
}

// emitTyped writes a header of a type that the tar writer keeps for itself.
func (p *packer) emitTyped(kind byte, h *tar.Header) error {
	h.Format = tar.FormatUSTAR
	b, err := encode(h)
	if err != nil {
		return named(h.Name, err)
	}
	const typeAt, sumAt, sumLen = 156, 148, 8
	b[typeAt] = kind
	copy(b[sumAt:], bytes.Repeat([]byte{' '}, sumLen))
	sum := 0
	for _, c := range b[:block] {
		sum += int(c)
	}
	copy(b[sumAt:], fmt.Sprintf("%06o\x00 ", sum))
	// Directories that wait come before.
	waiting := p.pending
	p.pending = nil
	for _, d := range waiting {
		if err := p.emit(d); err != nil {
			return err
		}
	}
	return p.write(b)
}

// appendRecord appends "LENGTH KEY=VALUE\n", whose length counts itself.
func appendRecord(b []byte, key, value string) []byte {
	rest := len(key) + len(value) + 3 // space, equals sign, end of line
	size := rest + len(strconv.Itoa(rest))
	if n := rest + len(strconv.Itoa(size)); n != size {
		size = n
	}
	return fmt.Appendf(b, "%d %s=%s\n", size, key, value)
}
