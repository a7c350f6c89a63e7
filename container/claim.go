package container

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

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
		if e.holds(dir, key, owner) {
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

// sweep frees the claims that nobody holds. known are containers whose records
// were just read.
func (e *Engine) sweep(dir string, known map[string]*Container) error {
	entries, err := os.ReadDir(e.path(dir))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		key := entry.Name()
		owner, err := e.owner(dir, key)
		if err != nil {
			continue
		}
		if c := known[owner]; c != nil && c.claims(dir, key) || e.holds(dir, key, owner) {
			continue
		}
		if err := e.free(dir, key, owner); err != nil {
			return err
		}
	}
	return nil
}

// claims reports whether the container's record names the claim.
func (c *Container) claims(dir, key string) bool {
	return dir == nameDir && c.Name == key || dir == idRangeDir && strconv.Itoa(c.Range) == key
}

// holds reports whether the container has the claim by its record, or is being
// made or renamed at this moment and may have it soon.
func (e *Engine) holds(dir, key, id string) bool {
	if !isID(id) {
		return false
	}
	c, err := e.read(id)
	if errors.Is(err, ErrNotFound) {
		return !e.dropHalfMade(id)
	}
	if err != nil || c.damage != nil || c.claims(dir, key) {
		return true
	}
	d, err := e.lockDir(id, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return !errors.Is(err, ErrNotFound)
	}
	defer d.Close()
	c, err = e.read(id)
	return err == nil && c.claims(dir, key)
}
