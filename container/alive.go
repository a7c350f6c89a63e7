package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/monitor"
	"loper.run/internal/flock"
	"loper.run/runtime"
)

// exit is exit.json: the monitor's words, and why there may be none of it.
type exit struct {
	monitor.Exit
	Error string `json:"error,omitempty"`
}

// Status asks the kernel whether the container runs, and the files how it
// ended. What a killed monitor left behind is cleaned up first.
func (c *Container) Status() (Status, error) { return c.status(false) }

// status is Status for a caller that may hold the container's lock.
func (c *Container) status(locked bool) (Status, error) {
	if c.Removing {
		return Status{State: Removing}, nil
	}
	alive, err := c.hasMonitor()
	if err != nil {
		return Status{}, err
	}
	if c.damage != nil && !alive {
		return Status{State: Dead, Error: c.damage.Error()}, nil
	}
	if alive {
		st, err := monitor.ReadState(c.RunDir())
		if err == nil && ended(st) {
			// Its monitor is about to say how.
			ctx, cancel := context.WithTimeout(context.Background(), lastWords)
			err := c.waitMonitor(ctx)
			cancel()
			if err == nil {
				return c.status(locked)
			}
		}
		if err == nil {
			s := Status{State: Running, Pid: st.Pid, StartedAt: st.StartedAt}
			if c.frozen() {
				s.State = Paused
			}
			return s, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return Status{}, err
		}
	}
	var e exit
	err = readJSON(c.file(monitor.ExitFile), &e)
	switch {
	case err == nil:
		s := Status{State: Exited, ExitCode: e.Code, OOMKilled: e.OOMKilled, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt, Error: e.Error}
		if e.StartedAt.IsZero() {
			s.State = Created // its program was never executed
		}
		return s, nil
	case !errors.Is(err, os.ErrNotExist):
		return Status{}, err
	case alive && !locked:
		return Status{State: Created}, nil // about to start
	case alive:
		return c.settle()
	}
	for _, name := range []string{monitor.ConfigFile, disarmedFile} {
		if _, err := os.Lstat(c.file(name)); err == nil {
			return c.lost(locked)
		}
	}
	return Status{State: Created}, nil
}

// lastWords is how long a monitor may take from its container's end to its own.
const lastWords = 10 * time.Second

// ended reports whether the container's first process is dead already.
func ended(st monitor.State) bool {
	p, err := readStat(st.Pid)
	return err != nil || p[0] == "Z" || p[0] == "X" || p[19] != strconv.FormatUint(st.StartTime, 10)
}

// cleanRuntime removes what a monitor that is dead left: the runtime's state,
// the cgroup, the processes if the kernel has not ended them yet, the socket.
func (c *Container) cleanRuntime() error {
	rc, err := runtime.Load(c.engine.runtimeRoot(), c.ID)
	if rc != nil { // also one whose record is damaged
		err = rc.Delete(true)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("clean up container %s: %w", c.Name, err)
	}
	if err := c.leaveNetworks(); err != nil {
		return fmt.Errorf("clean up container %s: %w", c.Name, err)
	}
	return os.RemoveAll(c.RunDir())
}

func (e *Engine) runtimeRoot() string { return filepath.Join(e.RunRoot, runtimeDir) }

// hasMonitor reports whether the container's monitor lives, which holds its
// lock all its life.
func (c *Container) hasMonitor() (bool, error) {
	f, err := os.Open(filepath.Join(c.RunDir(), monitor.LockFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = flock.Lock(f, unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, flock.ErrHeld) {
		return true, nil
	}
	return false, err
}

// waitMonitor waits until the container's monitor has ended.
func (c *Container) waitMonitor(ctx context.Context) error {
	f, err := os.Open(filepath.Join(c.RunDir(), monitor.LockFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- flock.Lock(f, unix.LOCK_SH)
		f.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// frozen reports whether the container is paused.
func (c *Container) frozen() bool {
	rc, err := runtime.Load(c.engine.runtimeRoot(), c.ID)
	if err != nil {
		return false
	}
	return rc.Status() == runtime.StatusPaused
}

// touch looks a container up and finishes or repairs what others left undone.
func (e *Engine) touch(id string) (*Container, error) {
	c, err := e.read(id)
	if errors.Is(err, ErrNotFound) {
		e.dropHalfMade(id)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if !c.Removing {
		return c, nil
	}
	d, err := e.lockDir(id, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, flock.ErrHeld) {
		return c, nil // being removed at this moment
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := c.finishRemoval(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
}
