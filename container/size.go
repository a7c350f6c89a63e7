package container

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"loper.run/image"
)

// Size counts what the container has written, in bytes of its files, and that
// together with its image.
func (c *Container) Size() (written, whole int64, err error) {
	seen := make(map[uint64]bool)
	// The container may exchange directories for links while we look.
	root, err := os.OpenRoot(c.file(upperDir))
	if err != nil {
		return 0, 0, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return nil // a directory of another of the container's users, or just gone
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		fi, err := entry.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		written += fi.Size()
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	img, err := c.engine.Images.Resolve(c.ImageID)
	if errors.Is(err, image.ErrNotFound) {
		return written, written, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return written, written + img.Size, nil
}
