package container

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxXattr is the kernel's bound for a list of names and for a value.
const maxXattr = 64 << 10

// copyXattrs copies the extended attributes of an open file but the overlay's
// own. What the target's file system or the caller's rights do not allow is
// left out, as cp does.
func copyXattrs(src, dst int) error {
	list := make([]byte, maxXattr)
	n, err := unix.Flistxattr(src, list)
	if errors.Is(err, unix.ENOTSUP) || n == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list extended attributes: %w", err)
	}
	var value []byte
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		key := string(name)
		if key == "" || strings.HasPrefix(key, "trusted.overlay.") || strings.HasPrefix(key, "user.overlay.") {
			continue
		}
		if value == nil {
			value = make([]byte, maxXattr)
		}
		size, err := unix.Fgetxattr(src, key, value)
		if err != nil {
			continue
		}
		err = unix.Fsetxattr(dst, key, value[:size], 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("set extended attribute %s: %w", key, err)
		}
	}
	return nil
}

// names lists the names in a merged directory, whiteouts among them.
func (m *merged) names() ([]string, error) {
	var all []string
	seen := make(map[string]bool)
	for _, d := range m.dirs {
		// The descriptor of a directory found by step can be read; those of the
		// layers' roots are only good for looking up.
		fd, err := unix.Openat(int(d.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: d.Name(), Err: err}
		}
		f := os.NewFile(uintptr(fd), d.Name())
		names, err := f.Readdirnames(-1)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
	}
	return all, nil
}
