package runtime

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNotRunning is returned when there is no process to signal.
var ErrNotRunning = errors.New("container not running")

// Kill sends a signal to the container's first process, or to all.
func (c *Container) Kill(sig syscall.Signal, all bool) error {
	if c.state.Pid == 0 || !c.alive() {
		if all {
			m, err := c.Cgroup()
			if err != nil {
				return err
			}
			return m.Kill(sig)
		}
		return fmt.Errorf("container %q: %w", c.state.ID, ErrNotRunning)
	}
	spec, err := c.Spec()
	// Without a pid namespace of its own the other processes would stay.
	shared := err == nil && !has(spec, specs.PIDNamespace)
	if all || shared && sig == unix.SIGKILL {
		m, err := c.Cgroup()
		if err != nil {
			return err
		}
		err = m.Kill(sig)
		if !errors.Is(err, cgroup.ErrNoGroup) {
			return err
		}
		// The first process takes those in its pid namespace with it.
	}
	fd, err := c.Pidfd()
	if err != nil {
		return err
	}
	defer fd.Close()
	if err := unix.PidfdSendSignal(int(fd.Fd()), sig, nil, 0); err != nil {
		return fmt.Errorf("signal container %q: %w", c.state.ID, err)
	}
	if sig == unix.SIGKILL {
		return c.thawToDie()
	}
	return nil
}

// thawToDie lets a killed container go on when it is frozen: cgroup v1 keeps
// even the dying.
func (c *Container) thawToDie() error {
	m, err := c.Cgroup()
	if err != nil {
		return err
	}
	if frozen, err := m.Frozen(); err != nil || !frozen {
		return nil // gone already, or free to die
	}
	return m.Thaw()
}

// Pause stops all processes of the container.
func (c *Container) Pause() error {
	if s := c.Status(); s != specs.StateRunning && s != specs.StateCreated {
		return fmt.Errorf("container %q is %s: only a running container can be paused", c.state.ID, s)
	}
	m, err := c.Cgroup()
	if err != nil {
		return err
	}
	return m.Freeze()
}

// Resume lets the processes of a paused container go on.
func (c *Container) Resume() error {
	if s := c.Status(); s != StatusPaused {
		return fmt.Errorf("container %q is %s: only a paused container can be resumed", c.state.ID, s)
	}
	m, err := c.Cgroup()
	if err != nil {
		return err
	}
	return m.Thaw()
}

// Wait waits for the end of the container's first process. Only the process
// that created the container can.
func (c *Container) Wait() (syscall.WaitStatus, error) {
	if c.process == nil {
		return 0, fmt.Errorf("container %q is not a child of this process", c.state.ID)
	}
	return c.process.Wait()
}

// Signal sends a signal to the first process. Only the process that created the
// container can; it may do so until Wait has returned, and after.
func (c *Container) Signal(s syscall.Signal) error {
	if c.process == nil {
		return fmt.Errorf("container %q is not a child of this process", c.state.ID)
	}
	return c.process.Signal(s)
}

// Release closes what the creating process holds of the container, which goes on.
func (c *Container) Release() {
	if c.process != nil {
		c.process.Close()
	}
}

// removeCgroup ends what is left in the container's groups and removes them. In
// a pid namespace of the container's own nothing is left when its first process
// has ended; that is tried at first.
func (c *Container) removeCgroup(m cgroup.Manager, force bool) error {
	if c.state.OwnPids && c.state.Pid != 0 && m.Destroy() == nil {
		return nil
	}
	if err := m.Kill(unix.SIGKILL); err != nil && !force && !errors.Is(err, cgroup.ErrNoGroup) {
		return err
	}
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("remove the cgroup: %w", err)
	}
	return nil
}

// deathTimeout bounds the wait for killed processes.
const deathTimeout = 10 * time.Second

// Delete removes a stopped container; any other, a created one as well, is an
// error (runtime-spec, "Delete"). With force it ends the container first, and
// what is damaged or half made is removed too.
func (c *Container) Delete(force bool) error {
	var damaged *DamagedError
	if err := c.checkDir(); errors.As(err, &damaged) && force {
		return os.RemoveAll(c.dir) // of another, or no directory: it tells nothing to go by
	}
	take := c.locked
	if force {
		take = c.seize
	}
	lock, err := take()
	if lock != nil {
		defer lock.Close()
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.As(err, &damaged) && force:
	case err != nil:
		return err
	}
	if status := c.statusOfMade(); status != specs.StateStopped {
		if !force && !c.dies() {
			return fmt.Errorf("container %q is %s: stop it first, or use --force", c.state.ID, status)
		}
		if err := c.end(); err != nil {
			return err
		}
	}
	return c.destroy(force)
}

// destroy removes what is left of a container whose processes have ended, and
// runs its hooks for that.
func (c *Container) destroy(force bool) error {
	m, err := c.Cgroup()
	if err != nil && !force {
		return err
	}
	if err == nil {
		if err := c.removeCgroup(m, force); err != nil {
			return err
		}
	}
	if err := c.removeRdt(); err != nil && !force {
		return fmt.Errorf("remove the resctrl group: %w", err)
	}
	var spec *specs.Spec
	if c.state.Poststop {
		if spec, err = c.Spec(); err != nil && !force {
			return err
		}
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	if spec != nil {
		limit := time.Duration(0)
		if force {
			limit = forcedHookTime
		}
		c.poststop(spec, limit)
	}
	return nil
}

// forcedHookTime bounds a hook without a timeout in a forced deletion, which
// nothing may keep from ending.
const forcedHookTime = 10 * time.Second

// dies gives a container that was killed a moment ago the time to die.
func (c *Container) dies() bool {
	fd, err := c.Pidfd()
	if err != nil {
		return true
	}
	defer fd.Close()
	return endsWithin(fd, dyingTime) == nil
}

// dyingTime is what the kernel may need, on a busy machine, for a killed process.
const dyingTime = 100 * time.Millisecond

// end kills the container and waits until it is dead.
func (c *Container) end() error {
	fd, err := c.Pidfd()
	if err != nil {
		return nil // it ended by itself
	}
	defer fd.Close()
	if m, err := c.Cgroup(); err == nil {
		if err := m.Kill(unix.SIGKILL); err != nil && !errors.Is(err, cgroup.ErrNoGroup) {
			return err
		}
	}
	if err := unix.PidfdSendSignal(int(fd.Fd()), unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	if err := endsWithin(fd, deathTimeout); err != nil {
		return fmt.Errorf("container %q doesn't die: %w", c.state.ID, err)
	}
	return nil
}

// endsWithin waits for the end of the process behind a pidfd.
func endsWithin(pidfd *os.File, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, int(max(left, 0).Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("poll", err)
		default:
			return fmt.Errorf("it still lives after %v", limit)
		}
	}
}
