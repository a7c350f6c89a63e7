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
	parent, err := os.Open(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	err = removeAt(parent, filepath.Base(path))
	if err != nil && e.Rootless && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		// Files of the container's other users are not ours, except inside the
		// user namespace.
		err = userns.Worker{Name: removeWorker, Args: []string{filepath.Base(path)}, Files: []*os.File{parent}}.Run(context.Background())
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// removeAt removes a name below a directory. os.Root keeps every step below
// it, and RemoveAll never follows a link.
func removeAt(parent *os.File, name string) error {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", parent.Fd()))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(name)
}
