package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// file makes a regular file: one descriptor, and only the calls it needs.
func (u *unpacker) file(h *tar.Header, dir int, base string) error {
	uid, gid, err := owner(h)
	if err != nil {
		return err
	}
	if h.Size > u.o.Limits.Bytes-u.res.Bytes {
		return fmt.Errorf("the layer's files hold more than %d bytes", u.o.Limits.Bytes)
	}
	sparse := isSparse(h)
	if h.Size >= checkFree && !sparse {
		if err := u.fits(h.Size); err != nil {
			return err
		}
	}
	mode := uint32(h.Mode) & 0o7777
	first := mode & 0o777
	if len(h.PAXRecords) > 0 {
		first |= 0o600 // an attribute is only set on what the caller may write
	}
	fd, err := openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, first)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if sparse {
		err = u.copySparse(fd, h.Size)
	} else {
		err = u.copy(fd, h.Size)
	}
	if err != nil {
		return err
	}
	u.res.Bytes += h.Size
	// In this order: writing and a new owner take away set-id bits and capabilities.
	if err := u.own(fd, uid, gid, true); err != nil {
		return err
	}
	if len(h.PAXRecords) > 0 {
		if err := u.setXattrs(fd, u.xattrs(h)); err != nil {
			return err
		}
	}
	if mode != first || mode&u.umask != 0 {
		if err := unix.Fchmod(fd, mode); err != nil {
			return err
		}
	}
	ts := times(h)
	if err := futimens(fd, &ts); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

func (u *unpacker) copy(fd int, size int64) error {
	for size > 0 {
		b := u.buf[:min(size, int64(len(u.buf)))]
		if _, err := io.ReadFull(u.tr, b); err != nil {
			return u.readError(cut(err))
		}
		if err := write(fd, b); err != nil {
			return err
		}
		size -= int64(len(b))
	}
	return nil
}

// copySparse writes only the blocks that hold something. Which they are is
// found anew, since the reader gives holes as zeros.
func (u *unpacker) copySparse(fd int, size int64) error {
	const block = 4096
	for off := int64(0); off < size; {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		b := u.buf[:min(size-off, int64(len(u.buf)))]
		if _, err := io.ReadFull(u.tr, b); err != nil {
			return u.readError(cut(err))
		}
		for i := 0; i < len(b); {
			end := i
			for end < len(b) && !zero(b[end:min(end+block, len(b))]) {
				end = min(end+block, len(b))
			}
			if end > i {
				if err := pwrite(fd, b[i:end], off+int64(i)); err != nil {
					return err
				}
				i = end
			} else {
				i = min(i+block, len(b))
			}
		}
		off += int64(len(b))
	}
	return retry(func() error { return unix.Ftruncate(fd, size) })
}

var zeros [4096]byte

func zero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// cut says that a stream's end within a file comes too early.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fits compares a large file with the free space, so that a layer that can
// never be kept doesn't fill the disk before it fails.
func (u *unpacker) fits(size int64) error {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(u.dirs.root, &st) }); err != nil {
		return nil // only a kindness
	}
	if free := int64(st.Bavail) * st.Bsize; st.Blocks > 0 && size > free {
		return fmt.Errorf("it needs %d bytes and the file system has %d left: %w", size, free, unix.ENOSPC)
	}
	return nil
}
