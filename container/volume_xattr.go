package container

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
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
		if key == "" || overlay.IsMark(key) {
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
