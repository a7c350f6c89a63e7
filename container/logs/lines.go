package logs

import (
	"bytes"
	"io"
	"os"
)

// maxLine bounds a line of a log file, in bytes. The writer's are a fraction
// of it; longer ones were not written by us and are skipped.
const maxLine = 1 << 20

// lines reads a file line by line, and can go on when the file has grown.
type lines struct {
	f    *os.File
	buf  []byte
	r, w int  // buf[r:w] is read and not consumed
	skip bool // inside a line that is too long
}

// next returns the next whole line without its newline, valid until the next
// call. io.EOF: there is no other one yet.
func (l *lines) next() ([]byte, error) {
	from := l.r
	for {
		if i := bytes.IndexByte(l.buf[from:l.w], '\n'); i >= 0 {
			line := l.buf[l.r : from+i]
			l.r = from + i + 1
			if l.skip {
				l.skip, from = false, l.r
				continue
			}
			return line, nil
		}
		if l.skip || l.w-l.r >= maxLine {
			l.skip, l.r, l.w = true, 0, 0
		}
		l.room()
		n, err := l.f.Read(l.buf[l.w:])
		from = l.w
		l.w += n
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return nil, err
		}
	}
}

// room makes room for a read behind what is not consumed.
func (l *lines) room() {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) {
		l.buf = append(l.buf, make([]byte, max(64<<10, len(l.buf)))...)
	}
}

// backward reads a file line by line from its end.
type backward struct {
	f   *os.File
	pos int64  // of buf's first byte in the file
	buf []byte // whole lines, the last one's newline included
	cut bool   // the last line was too long and is in buf without its end
}

// newBackward starts behind the last whole line of f.
func newBackward(f *os.File) (*backward, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b := &backward{f: f, pos: end}
	for b.pos > 0 {
		if err := b.grow(); err != nil {
			return nil, err
		}
		if i := bytes.LastIndexByte(b.buf, '\n'); i >= 0 {
			b.buf = b.buf[:i+1]
			return b, nil
		}
		b.buf = nil // a torn line
	}
	return b, nil
}

// next returns the line before the last one returned, without its newline, and
// where it begins; io.EOF at the beginning of the file.
func (b *backward) next() (line []byte, at int64, err error) {
	for {
		if len(b.buf) == 0 && b.pos == 0 {
			return nil, 0, io.EOF
		}
		if len(b.buf) > 0 {
			i := bytes.LastIndexByte(b.buf[:len(b.buf)-1], '\n')
			if i >= 0 || b.pos == 0 {
				line, b.buf = b.buf[i+1:len(b.buf)-1], b.buf[:i+1]
				if b.cut {
					b.cut = false
					continue
				}
				return line, b.pos + int64(i) + 1, nil
			}
			if len(b.buf) > maxLine {
				b.buf, b.cut = b.buf[len(b.buf)-1:], true
			}
		}
		if err := b.grow(); err != nil {
			return nil, 0, err
		}
	}
}

// grow reads the block before buf.
func (b *backward) grow() error {
	n := min(b.pos, 64<<10)
	buf := make([]byte, n, int(n)+len(b.buf))
	if _, err := b.f.ReadAt(buf, b.pos-n); err != nil {
		return err
	}
	b.buf, b.pos = append(buf, b.buf...), b.pos-n
	return nil
}
