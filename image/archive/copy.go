package archive

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CopyTo writes the content to the beginning of an empty file. Where the file
// system can, both share their blocks or the kernel copies them.
func (c Content) CopyTo(to *os.File) error {
	if c.File == nil {
		_, err := to.WriteAt(c.memory, 0)
		return err
	}
	return copyRange(to, 0, c.File, c.Offset, c.Size)
}

// copyRange copies a range of one file to an offset of another; the positions
// of both stay where they are.
func copyRange(to *os.File, at int64, from *os.File, offset, size int64) error {
	const step = 1 << 30 // the kernel takes no more than 2 GiB
	for size > 0 {
		n, err := unix.CopyFileRange(int(from.Fd()), &offset, int(to.Fd()), &at, int(min(size, step)), 0)
		switch {
		case err == unix.EINTR:
			continue
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EBADF):
			// Between these two it can't be done so.
			_, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(to, at)}, io.NewSectionReader(from, offset, size), make([]byte, 1<<20))
			return err
		case err != nil:
			return os.NewSyscallError("copy_file_range", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		size -= int64(n)
	}
	return nil
}
