package container

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
)

// A claim is something only one container may have: a name, a range of user
// ids. It is a symbolic link to the container's directory, so that making it is
// one exclusive system call that is never seen half done.

// take claims dir/key for the container id. It returns the owner's id and
// os.ErrExist when somebody else has it; a claim whose owner is gone is taken over.
func (e *Engine) take(dir, key, id string) (owner string, err error) {
	path := e.path(dir, key)
	for {
		err := os.Symlink(filepath.Join("..", containerDir, id), path)
		if !errors.Is(err, os.ErrExist) {
			return id, err
		}
		owner, err := e.owner(dir, key)
		if errors.Is(err, os.ErrNotExist) {
			continue // freed in this moment
		}
		if err != nil {
			return "", err
		}
		if e.exists(owner) {
			return owner, os.ErrExist
		}
		if err := e.free(dir, key, owner); err != nil {
			return "", err
		}
	}
}

// owner returns the id of the container that has dir/key.
func (e *Engine) owner(dir, key string) (string, error) {
	target, err := os.Readlink(e.path(dir, key))
	if err != nil {
		return "", err
	}
	return filepath.Base(target), nil
}

// free gives up dir/key if id still has it. The lock on the directory makes
// looking and unlinking one step, so that a new owner never loses its claim.
func (e *Engine) free(dir, key, id string) error {
	d, err := os.Open(e.path(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := flock.Lock(d, unix.LOCK_EX); err != nil {
		return err
	}
	owner, err := e.owner(dir, key)
	if errors.Is(err, os.ErrNotExist) || err == nil && owner != id {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(e.path(dir, key))
}

// sweep frees the claims whose container is gone.
func (e *Engine) sweep(dir string) error {
	entries, err := os.ReadDir(e.path(dir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		owner, err := e.owner(dir, entry.Name())
		if err != nil || e.exists(owner) {
			continue
		}
		if err := e.free(dir, entry.Name(), owner); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether the container has a directory that is either complete
// or being made at this moment.
func (e *Engine) exists(id string) bool {
	if !isID(id) {
		return false
	}
	if _, err := os.Lstat(e.path(containerDir, id, recordFile)); err == nil {
		return true
	}
	return !e.dropHalfMade(id)
}
