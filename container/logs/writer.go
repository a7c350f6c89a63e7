package logs

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Writer appends records to a log and rotates its files. It is for one
// goroutine. A nil Writer, which Open gives for the driver none, drops all.
//
// Nothing is synced: output is worth less than the pause.
type Writer struct {
	c    Config
	fd   int
	size int64  // of the newest file
	buf  []byte // whole records not written yet
	now  func() time.Time
}

// flushAt bytes of records are written at once. A chunk of output rarely makes
// more, so that it costs one write.
const flushAt = 64 << 10

// Open opens the log for writing, making it, mode 0600, when it is missing.
func Open(c Config) (*Writer, error) {
	if !c.Enabled() {
		return nil, nil
	}
	w := &Writer{c: c, fd: -1, now: time.Now}
	return w, w.open()
}

// open opens the newest file behind its last whole record: what a writer left
// of a record when it was killed gets a line of its own.
func (w *Writer) open() error {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(w.c.Path, flags, 0o600)
	if err != nil {
		return &os.PathError{Op: "open log", Path: w.c.Path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return fmt.Errorf("open log %s: not a regular file", w.c.Path)
	}
	w.fd, w.size = fd, st.Size
	var last [1]byte
	if n, _ := unix.Pread(fd, last[:], st.Size-1); n == 1 && last[0] != '\n' {
		w.buf = append(w.buf, '\n')
		w.flush()
	}
	return nil
}

// Write appends a piece of a stream's output: a record for each line, and a
// partial one for what follows the last newline.
func (w *Writer) Write(s Stream, p []byte) error {
	if w == nil || len(p) == 0 {
		return nil
	}
	var head [64]byte
	h := w.now().UTC().AppendFormat(head[:0], timeFormat)
	h = append(append(append(h, ' '), s.String()...), " F "...)
	tag := len(h) - 2
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, newline)
		if p = rest; !found {
			h[tag] = 'P'
		}
		w.add(h, line)
	}
	return w.flush()
}

var newline = []byte{'\n'}

// add puts a record into the buffer, rotating before it when it does not fit.
func (w *Writer) add(head, line []byte) {
	n := int64(len(head) + len(line) + 1)
	used := w.size + int64(len(w.buf))
	if limit := w.c.maxSize(); limit > 0 && used > 0 && used+n > limit {
		w.flush()
		w.rotate()
	}
	if len(w.buf) > 0 && len(w.buf)+int(n) > flushAt {
		w.flush()
	}
	w.buf = append(append(append(w.buf, head...), line...), '\n')
}

// flush writes the buffer. What a full disk refuses is dropped up to the next
// whole record; the container is not stopped for it.
func (w *Writer) flush() error {
	p := w.buf
	w.buf = w.buf[:0]
	for done := 0; done < len(p); {
		n, err := unix.Write(w.fd, p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			var st unix.Stat_t
			if unix.Fstat(w.fd, &st) == nil && st.Size > w.size {
				unix.Ftruncate(w.fd, w.size)
			}
			return &os.PathError{Op: "write log", Path: w.c.Path, Err: err}
		}
		done += n
	}
	w.size += int64(len(p))
	return nil
}

// rotate renames the files by one, dropping the oldest, and begins a new one.
// When that fails the old file is written on, better too long than lost.
func (w *Writer) rotate() {
	keep := w.c.maxFiles() - 1
	for n := keep; n > 0; n-- {
		os.Rename(older(w.c.Path, n-1), older(w.c.Path, n))
	}
	if keep == 0 {
		os.Remove(w.c.Path)
	}
	old := w.fd
	if err := w.open(); err == nil {
		unix.Close(old)
	}
}

// Shrink gives the writer's buffer back to the garbage collector.
func (w *Writer) Shrink() {
	if w != nil {
		w.buf = nil
	}
}

// Close closes the log.
func (w *Writer) Close() {
	if w != nil && w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
}
