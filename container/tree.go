package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
)

// removeTree removes a directory of the engine's and all below it, which
// containers may have filled with anything. Nothing is followed.
func (e *Engine) removeTree(path string) error {
	return e.removeFrom(filepath.Dir(path), filepath.Base(path))
}

// removeFrom is removeTree for several names in a directory.
func (e *Engine) removeFrom(dir string, names ...string) error {
	parent, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	err = removeAt(parent, names...)
	if err != nil && e.Rootless && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		// Files of the container's other users are not ours, except inside the
		// user namespace.
		err = userns.Worker{Name: removeWorker, Args: names, Files: []*os.File{parent}}.Run(context.Background())
	}
	if err != nil {
		return fmt.Errorf("remove from %s: %w", dir, err)
	}
	return nil
}

// removeAt removes names below a directory. os.Root keeps every step below it,
// and RemoveAll never follows a link.
func removeAt(parent *os.File, names ...string) error {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", parent.Fd()))
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range names {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}
