package tree

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Record writes a line for each entry of a tree, in a fixed order:
//
//	"path" mode uid gid [size] [mtime] [device] [xattrs] [contents] ["target"]
//
// that is type, permissions, owner, and what else belongs to the entry's type;
// two trees that read alike have the same record. With contents the files'
// bytes are part of it, which takes as long as reading them, and times are not:
// so two trees are compared that were made of one source at different times. Not recorded are
// link counts, access times and the sizes of directories, which change without
// anybody's doing, and the labels of the host's security module.
func Record(dir *os.File, w io.Writer, contents bool) error {
	out := bufio.NewWriterSize(w, 64<<10)
	r := &recorder{contents: contents, list: make([]byte, 4<<10), value: make([]byte, 64<<10)}
	err := walk(dir, false, func(e entry) error {
		line, err := r.line(e)
		if err != nil {
			return &os.PathError{Op: "record", Path: e.path, Err: err}
		}
		_, err = out.Write(line)
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

type recorder struct {
	contents    bool
	text        []byte
	list, value []byte
}

func (r *recorder) line(e entry) ([]byte, error) {
	b := strconv.AppendQuote(r.text[:0], e.path)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.st.Mode), 8)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.st.Uid), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.st.Gid), 10)
	kind := e.st.Mode & unix.S_IFMT
	if e.path != "." && !r.contents { // the top's own time is set by whoever makes the tree
		b = append(b, " t="...)
		b = strconv.AppendInt(b, e.st.Mtim.Sec, 10)
		b = append(b, '.')
		b = strconv.AppendInt(b, e.st.Mtim.Nsec, 10)
	}
	var err error
	switch kind {
	case unix.S_IFREG:
		b = append(b, " s="...)
		b = strconv.AppendInt(b, e.st.Size, 10)
		if r.contents {
			b = append(b, " c="...)
			b, err = r.appendContents(b, e)
		}
	case unix.S_IFLNK:
		var n int
		n, err = unix.Readlinkat(e.dir, e.name, r.value)
		b = append(b, " l="...)
		b = strconv.AppendQuote(b, string(r.value[:max(n, 0)]))
	case unix.S_IFCHR, unix.S_IFBLK:
		b = append(b, " d="...)
		b = strconv.AppendUint(b, e.st.Rdev, 10)
	}
	if err == nil {
		b, err = r.appendXattrs(b, e)
	}
	b = append(b, '\n')
	r.text = b
	return b, err
}

// appendXattrs adds a hash over the extended attributes, when there are any.
func (r *recorder) appendXattrs(b []byte, e entry) ([]byte, error) {
	// Only with a path can they be listed of whatever an entry is.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", e.dir, e.name)
	n, err := unix.Llistxattr(path, r.list)
	for err == unix.ERANGE && len(r.list) < 64<<10 {
		r.list = make([]byte, 2*len(r.list))
		n, err = unix.Llistxattr(path, r.list)
	}
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return b, nil
	}
	if err != nil {
		return b, err
	}
	names := strings.Split(strings.TrimRight(string(r.list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	h, some := sha256.New(), false
	for _, name := range names {
		if name == "security.selinux" || name == "security.ima" || name == "security.evm" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, r.value)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return b, err
		}
		some = true
		fmt.Fprintf(h, "%q %x\n", name, r.value[:n])
	}
	if some {
		b = append(b, " x="...)
		b = hex.AppendEncode(b, h.Sum(nil)[:16])
	}
	return b, nil
}

func (r *recorder) appendContents(b []byte, e entry) ([]byte, error) {
	fd, err := unix.Openat(e.dir, e.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return b, err
	}
	f := os.NewFile(uintptr(fd), e.name)
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, r.value); err != nil {
		return b, err
	}
	return hex.AppendEncode(b, h.Sum(nil)[:16]), nil
}
