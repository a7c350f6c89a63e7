package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"path"
)

// tarSink writes a tar that depends on nothing but its contents.
type tarSink struct {
	f    *os.File
	off  int64 // in f, as far as this archive goes
	dirs map[string]bool
	seek bool // f is a regular file, in which the kernel may copy
}

// tarBlock is the unit of a tar, in bytes.
const tarBlock = 512

func (t *tarSink) file(name string, c Content) error {
	if err := t.begin(path.Dir(name)); err != nil {
		return err
	}
	if err := t.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: c.Size}); err != nil {
		return err
	}
	if c.File != nil && t.seek {
		if err := copyRange(t.f, t.off, c.File, c.Offset, c.Size); err != nil {
			return err
		}
		t.off += c.Size
		if _, err := t.f.Seek(t.off, 0); err != nil {
			return err
		}
	} else if err := t.stream(c); err != nil {
		return err
	}
	return t.write(make([]byte, -c.Size&(tarBlock-1)))
}

// begin makes the directories above a name, and looks once what f is.
func (t *tarSink) begin(dir string) error {
	if t.dirs == nil {
		t.dirs = make(map[string]bool)
		if st, err := t.f.Stat(); err == nil && st.Mode().IsRegular() {
			off, err := t.f.Seek(0, 1)
			t.off, t.seek = off, err == nil
		}
	}
	if dir == "." || t.dirs[dir] {
		return nil
	}
	if err := t.begin(path.Dir(dir)); err != nil {
		return err
	}
	t.dirs[dir] = true
	return t.header(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
}

func (t *tarSink) header(h *tar.Header) error {
	var b bytes.Buffer
	h.Format = tar.FormatUSTAR
	if h.Size > 8<<30-1 {
		h.Format = tar.FormatPAX // more than eleven octal digits
	}
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return err
	}
	return t.write(b.Bytes())
}

func (t *tarSink) stream(c Content) error {
	buf := make([]byte, 1<<20)
	r := c.Reader()
	for left := c.Size; left > 0; {
		n, err := r.Read(buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		if werr := t.write(buf[:n]); werr != nil {
			return werr
		}
		if err != nil && left > 0 {
			return err
		}
	}
	return nil
}

func (t *tarSink) write(b []byte) error {
	n, err := t.f.Write(b)
	t.off += int64(n)
	return err
}

// finish writes the two empty blocks that end a tar.
func (t *tarSink) finish() error { return t.write(make([]byte, 2*tarBlock)) }

// abort leaves what was written: the file is the caller's.
func (t *tarSink) abort() {}
