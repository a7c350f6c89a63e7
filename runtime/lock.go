package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"loper.run/internal/flock"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The state directory of a container is locked by whoever changes it: its
// maker until it is made, then start and delete. The kernel drops the lock of
// one that is killed, so a held lock without a recorded process means that the
// container is being made right now.

// lockDir takes the lock of a state directory, waiting for it at most as long
// as given. The error matches os.ErrNotExist when the directory was removed,
// meanwhile too.
func lockDir(dir string, patience time.Duration) (*os.File, error) {
	d, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for {
		err = flock.Lock(d, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, flock.ErrHeld) || !time.Now().Before(deadline) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(d.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// locked takes the lock of the container's directory and reads its record
// again, which may have changed until then.
func (c *Container) locked() (*os.File, error) {
	lock, err := lockDir(c.dir, lockTimeout)
	if err != nil {
		return nil, c.busy(err)
	}
	if err := c.readState(); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// busy explains a lock that can't be had.
func (c *Container) busy(err error) error {
	if errors.Is(err, flock.ErrHeld) {
		return fmt.Errorf("container %q is in the hands of another process, which is making, starting or deleting it", c.state.ID)
	}
	return err
}

// lockTimeout bounds the wait for another process that holds a container.
const lockTimeout = 10 * time.Second

// beingMade tells whether the maker of a container without a process lives.
func (c *Container) beingMade() bool {
	lock, err := lockDir(c.dir, 0)
	if err == nil {
		lock.Close()
	}
	return errors.Is(err, flock.ErrHeld)
}

// checkRoot refuses a directory for state that somebody else could change.
func checkRoot(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &os.PathError{Op: "look at", Path: dir, Err: err}
	}
	if err := checkOwner(&st); err != nil {
		return fmt.Errorf("the state directory %s %w", dir, err)
	}
	return nil
}

// checkOwner says why somebody else could change what lies in a directory.
func checkOwner(st *unix.Stat_t) error {
	if uid := os.Geteuid(); int(st.Uid) != uid && st.Uid != 0 {
		return fmt.Errorf("belongs to user %d, not %d", st.Uid, uid)
	}
	if st.Mode&0o022 != 0 {
		return errors.New("can be written to by others; 'chmod go-w' it")
	}
	return nil
}

// newContainer takes the id with an exclusive mkdir and writes the record that
// lets anybody clean up, before there is anything to clean up.
//
// The lock tells others that the container is being made.
func newContainer(o *Options, spec *specs.Spec, m cgroup.Manager) (_ *Container, lock *os.File, err error) {
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, nil, err
	}
	if err := checkRoot(o.Root); err != nil {
		return nil, nil, err
	}
	c := &Container{dir: filepath.Join(o.Root, o.ID), spec: spec}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, nil, fmt.Errorf("container with id %q exists already", o.ID)
		}
		return nil, nil, err
	}
	if lock, err = lockDir(c.dir, 0); err != nil {
		return nil, nil, fmt.Errorf("container %q is being deleted: %w", o.ID, err)
	}
	c.state = state{
		Version: spec.Version, ID: o.ID, Bundle: o.Bundle, Rootfs: spec.Root.Path, Created: time.Now().UTC(), Owner: os.Getuid(),
		Cgroups: m.Paths(), Unit: m.Unit(), Annotations: spec.Annotations, Poststop: len(hooksOf(spec).Poststop) > 0,
		Bound:   !o.Detached,
		OwnPids: fresh(spec, specs.PIDNamespace),
	}
	err = c.saveState()
	if err == nil && o.Config != nil {
		err = os.WriteFile(filepath.Join(c.dir, configFile), o.Config, 0o600)
	}
	if err != nil {
		os.RemoveAll(c.dir)
		lock.Close()
		return nil, nil, err
	}
	return c, lock, nil
}
