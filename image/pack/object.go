package pack

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
)

// object packs what is no directory. Sockets mean nothing without who listens,
// and are left out.
func (p *packer) object(e overlay.Entry, path string) error {
	key := [2]uint64{e.Stat.Dev, e.Stat.Ino}
	if first := p.links[key]; first != "" {
		h := p.header(tar.TypeLink, path, &e.Stat, e.Layer)
		h.Linkname = first
		return p.emit(h)
	}
	var err error
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = p.file(e, path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
	case unix.S_IFLNK:
		h := p.header(tar.TypeSymlink, path, &e.Stat, e.Layer)
		h.Mode = 0o777
		if h.Linkname, err = e.Readlink(); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = p.emit(h)
		}
	case unix.S_IFIFO:
		err = p.emit(p.header(tar.TypeFifo, path, &e.Stat, e.Layer))
	case unix.S_IFCHR, unix.S_IFBLK:
		kind := byte(tar.TypeChar)
		if e.Stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			kind = tar.TypeBlock
		}
		h := p.header(kind, path, &e.Stat, e.Layer)
		h.Devmajor, h.Devminor = int64(unix.Major(e.Stat.Rdev)), int64(unix.Minor(e.Stat.Rdev))
		err = p.emit(h)
	default:
		return nil
	}
	if err == nil && e.Stat.Nlink > 1 && len(p.links) < maxLinked {
		p.links[key] = path
	}
	return err
}

// file packs a regular file as it is once it is open. Should it shrink
// meanwhile, zeros stand for the rest.
func (p *packer) file(e overlay.Entry, path string) error {
	f, err := e.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	var data unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &data); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if data.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil // replaced meanwhile
	}
	h := p.header(tar.TypeReg, path, &e.Stat, e.Layer)
	h.Size = data.Size
	if err := p.fileXattrs(h, e, f, &data); err != nil {
		return err
	}
	if data.Size >= minHoles {
		spans, err := p.spans(f, data.Size)
		if err != nil {
			return err
		}
		if spans != nil {
			return p.sparse(h, f, spans)
		}
	}
	if err := p.emit(h); err != nil {
		return err
	}
	return p.copy(f, 0, h.Size, h.Size)
}

// fileXattrs reads them from the entry itself, which is not always where the
// bytes are.
func (p *packer) fileXattrs(h *tar.Header, e overlay.Entry, f *os.File, data *unix.Stat_t) error {
	if data.Ino == e.Stat.Ino && data.Dev == e.Stat.Dev {
		return p.xattrs(h, f, e.Layer)
	}
	own, err := e.OpenOwn()
	if err != nil {
		return err
	}
	defer own.Close()
	return p.xattrs(h, own, e.Layer)
}

// copy writes length bytes of a file from an offset on, and pads all that was
// written of the entry to whole blocks.
func (p *packer) copy(f *os.File, off, length, written int64) error {
	for length > 0 {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		b := p.buf[:min(length, int64(len(p.buf)))]
		n, err := f.ReadAt(b, off)
		if err == io.EOF {
			clear(b[n:])
			n = len(b)
		} else if err != nil {
			return err
		}
		if err := p.write(b[:n]); err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return p.write(make([]byte, -written&(block-1)))
}
