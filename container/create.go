package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/logs"
	"loper.run/image"
	"loper.run/internal/flock"
	"loper.run/launch"
	"loper.run/runtime"
)

// Create makes a container of the image. It exists from the moment its record
// is written; when Create fails or is killed before, nothing of it is left but
// what the next command that comes across it removes.
//
// Unless UsernsMode is host, the container's root is nobody on the host, even
// with Privileged: that gives all capabilities in the container's own
// namespaces, no system call filter and no hidden paths. Only Privileged with
// UsernsMode host is what docker's --privileged is, with all of the host's
// devices.
func (e *Engine) Create(ctx context.Context, s Settings, img *image.Image) (_ *Container, err error) {
	c, err := e.prepare(s, img)
	if err != nil {
		return nil, err
	}
	unlockImage, err := e.Images.Lock(img)
	if err != nil {
		return nil, err
	}
	defer unlockImage()
	d, err := e.makeDir()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	c.ID = d.id
	var done func()
	defer func() {
		if done != nil {
			done()
		}
		if err != nil {
			e.abandon(c)
		}
	}()
	if c.Name, err = e.takeName(s.Name, c.ID); err != nil {
		return nil, err
	}
	if c.needsRange() {
		if c.Range, err = e.takeRange(c.ID); err != nil {
			return nil, err
		}
	}
	if done, err = c.resolveMounts(ctx); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	uids, gids, err := c.mappings()
	if err != nil {
		return nil, err
	}
	if err := c.makeRootfs(uids, gids); err != nil {
		return nil, err
	}
	return c, c.save()
}

// prepare is what of Create touches no file: the record without what is taken.
func (e *Engine) prepare(s Settings, img *image.Image) (*Container, error) {
	defaults, err := fromImage(img.Config)
	if err != nil {
		return nil, err
	}
	if _, err := logs.Parse(s.LogDriver, s.LogOpts); err != nil {
		return nil, err
	}
	if s.StopSignal != "" {
		if _, err := ParseSignal(s.StopSignal); err != nil {
			return nil, err
		}
	}
	switch s.UsernsMode {
	case "", "private", "auto", "host":
	default:
		if len(s.peers()) == 0 || s.UsernsMode[0] != 'c' {
			return nil, fmt.Errorf("unknown userns mode %q", s.UsernsMode)
		}
	}
	if s.UsernsMode == "host" && e.Rootless {
		s.UsernsMode = "" // an ordinary user's own namespace is already that of the user
	}
	if err := e.chooseNetwork(&s); err != nil {
		return nil, err
	}
	c := &Container{engine: e, Record: Record{
		Created: time.Now().UTC(), Settings: s, Image: defaults, Range: noRange,
		ImageID: img.ID.String(), ImageName: s.Image, Builtin: img.Builtin, Layers: img.Layers,
	}}
	if c.ImageName == "" && len(img.Names) > 0 {
		c.ImageName = img.Names[0]
	}
	return c, nil
}

// needsRange reports whether the container gets ids of its own.
func (c *Container) needsRange() bool {
	return !c.engine.Rootless && c.Settings.UsernsMode != "host" && c.peer() == ""
}

// check makes the config.json only to find what is wrong with it now and not
// at the start.
func (c *Container) check() error {
	f, err := c.gather()
	if err != nil {
		// A container to join may be started later.
		if errors.Is(err, ErrNotRunning) {
			return nil
		}
		return err
	}
	if _, err := c.hosts(f, nil); err != nil {
		return err
	}
	if _, err := c.resolv(nil); err != nil {
		return err
	}
	_, err = c.spec(f)
	return err
}

// Plan is the program of system calls that would start a container of these
// settings. Nothing of the host is changed for it.
func (e *Engine) Plan(s Settings, img *image.Image) (*launch.Program, error) {
	c, err := e.prepare(s, img)
	if err != nil {
		return nil, err
	}
	c.ID, c.Name = newID(), s.Name
	if c.needsRange() {
		c.Range = 0
	}
	if err := c.nameMounts(); err != nil {
		return nil, err
	}
	f, err := c.gather()
	if err != nil {
		return nil, err
	}
	spec, err := c.spec(f)
	if err != nil {
		return nil, err
	}
	return runtime.Plan(runtime.Options{Root: e.runtimeRoot(), ID: c.ID, Bundle: c.Dir(), Spec: spec, Overlay: c.overlay(), Network: c.planNetwork()})
}

// newDir is a container's directory, locked by its creator.
type newDir struct {
	*os.File
	id string
}

// makeDir makes the directory of a new container. Until it has a record, the
// lock is what keeps others from removing it as half made.
func (e *Engine) makeDir() (newDir, error) {
	id := newID()
	if e.early != nil {
		id = e.early.id
	}
	for ; ; id = newID() {
		if err := os.Mkdir(e.path(containerDir, id), 0o700); err != nil {
			return newDir{}, err
		}
		d, err := os.Open(e.path(containerDir, id))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed before we had the lock
		}
		if err != nil {
			return newDir{}, err
		}
		err = flock.Lock(d, unix.LOCK_EX)
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(int(d.Fd()), &st)
		}
		if err != nil || st.Nlink == 0 {
			d.Close()
			if err != nil {
				return newDir{}, err
			}
			continue
		}
		return newDir{d, id}, nil
	}
}

// abandon undoes a Create that failed. What fails here is left to the repairs.
func (e *Engine) abandon(c *Container) {
	c.removeAnonymous()
	if e.removeTree(c.Dir()) == nil {
		e.freeClaims(c)
	}
}
