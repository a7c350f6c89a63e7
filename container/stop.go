package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"loper.run/runtime"
)

// StopOptions is how to stop a container; the zero value is as the container's
// settings or its image say.
type StopOptions struct {
	Signal  string // name or number
	Timeout *int   // seconds until SIGKILL; negative: never
}

const defaultStopTimeout = 10 // seconds

// Stop asks the container's first process to end, kills it when it does not in
// time, and returns when it has ended. A container that does not run is stopped.
func (c *Container) Stop(ctx context.Context, o StopOptions) error {
	st, err := c.Status()
	if err != nil || !st.Alive() {
		return err
	}
	sig, err := ParseSignal(cmp.Or(o.Signal, c.Settings.StopSignal, c.Image.StopSignal, "TERM"))
	if err != nil {
		return err
	}
	timeout := defaultStopTimeout
	for _, t := range []*int{o.Timeout, c.Settings.StopTimeout} {
		if t != nil {
			timeout = *t
			break
		}
	}
	if err := c.signal(sig, st.State == Paused); err != nil {
		return ignoreEnded(err)
	}
	soft, cancel := ctx, func() {}
	if timeout >= 0 {
		soft, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
	}
	defer cancel()
	err = c.waitMonitor(soft)
	if err == nil || ctx.Err() != nil || soft.Err() == nil {
		return err
	}
	return c.kill(ctx)
}

// kill ends the container at once and waits for its monitor to have put that
// on record.
func (c *Container) kill(ctx context.Context) error {
	if err := ignoreEnded(c.signal(syscall.SIGKILL, c.frozen())); err != nil {
		return err
	}
	return c.waitMonitor(ctx)
}

func ignoreEnded(err error) error {
	if errors.Is(err, ErrNotRunning) || errors.Is(err, syscall.ESRCH) || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// signal sends sig to the first process; a paused container goes on to get it.
func (c *Container) signal(sig syscall.Signal, paused bool) error {
	rc, err := c.loadRuntime()
	if err != nil {
		return err
	}
	err = rc.Kill(sig, false)
	if errors.Is(err, runtime.ErrNotRunning) || err != nil && rc.Pid() == 0 {
		return fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", c.Name, err)
	}
	if !paused {
		return nil
	}
	m, err := rc.Cgroup()
	if err != nil {
		return err
	}
	if err := m.Thaw(); err != nil && rc.Pid() != 0 {
		return err
	}
	return nil // it has ended, and its cgroup with it
}

// Kill sends a signal to the container's first process. Any but SIGKILL waits
// in a paused container until it goes on.
func (c *Container) Kill(sig syscall.Signal) error {
	st, err := c.Status()
	if err != nil {
		return err
	}
	if !st.Alive() {
		return fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
	}
	return c.signal(sig, sig == syscall.SIGKILL && st.State == Paused)
}

// Pause stops all processes of the container where they are.
func (c *Container) Pause() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	rc, err := c.loadRuntime()
	if err != nil {
		return err
	}
	if c.frozen() {
		return fmt.Errorf("container %s is paused already", c.Name)
	}
	return rc.Pause()
}

// Unpause lets the processes of a paused container go on.
func (c *Container) Unpause() error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	rc, err := c.loadRuntime()
	if err != nil {
		return err
	}
	if !c.frozen() {
		return fmt.Errorf("container %s is not paused", c.Name)
	}
	return rc.Resume()
}

// Wait waits until the container does not run and returns its exit code.
func (c *Container) Wait(ctx context.Context) (int, error) {
	if err := c.waitMonitor(ctx); err != nil {
		return 0, err
	}
	st, err := c.Status()
	return st.ExitCode, err
}
