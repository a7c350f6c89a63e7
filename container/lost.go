package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/container/attach"
	"loper.run/container/monitor"
	"loper.run/internal/atomicfile"
	"loper.run/internal/flock"
)

// lostCode is the exit code of a container whose monitor was killed: the
// kernel killed the container with it.
const lostCode = 137

// disarmedFile is monitor.json while it is found out whether a monitor is on
// its way.
const disarmedFile = "monitor.off"

// lost is the status of a container that was started, has no monitor and did
// not say how it ended.
func (c *Container) lost(locked bool) (Status, error) {
	if !locked {
		d, err := c.engine.lockDir(c.ID, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, flock.ErrHeld) {
			return Status{State: Created}, nil // somebody starts it at this moment
		}
		if err != nil {
			return Status{}, err
		}
		defer d.Close()
		if _, err := c.engine.read(c.ID); err != nil {
			return Status{}, err
		}
		// It may have been started and have ended since we looked.
		return c.status(true)
	}
	// From now on no monitor starts that has not begun to; one that has is found.
	if err := os.Rename(c.file(monitor.ConfigFile), c.file(disarmedFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Status{}, err
	}
	late, err := c.monitorProcess()
	if err != nil {
		return Status{}, err
	}
	if late {
		if err := os.Rename(c.file(disarmedFile), c.file(monitor.ConfigFile)); err != nil {
			return Status{}, err
		}
		return c.settle()
	}
	e := exit{Exit: monitor.Exit{Code: lostCode, FinishedAt: time.Now().UTC()}, Error: "monitor was killed"}
	e.StartedAt = c.Created
	if st, err := monitor.ReadState(c.RunDir()); err == nil {
		e.StartedAt = st.StartedAt
	}
	if err := c.cleanRuntime(); err != nil {
		return Status{}, err
	}
	if err := atomicfile.WriteJSON(c.file(monitor.ExitFile), e, 0o600, c.durability()); err != nil {
		return Status{}, err
	}
	if err := os.Rename(c.file(disarmedFile), c.file(monitor.ConfigFile)); err != nil {
		return Status{}, err
	}
	return Status{State: Exited, ExitCode: e.Code, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt, Error: e.Error}, nil
}

// settle waits until a monitor whose starter was killed has started the
// container, or ended. The caller holds the container's lock.
func (c *Container) settle() (Status, error) {
	pause := time.Millisecond
	for end := time.Now().Add(killTime); ; time.Sleep(pause) {
		alive, err := c.hasMonitor()
		if err != nil {
			return Status{}, err
		}
		process := false
		if !alive {
			if process, err = c.monitorProcess(); err != nil {
				return Status{}, err
			}
		}
		_, err = monitor.ReadState(c.RunDir())
		switch {
		case alive && err == nil, !alive && !process:
			return c.status(true)
		case time.Now().After(end):
			return Status{}, fmt.Errorf("container %s: its monitor neither starts it nor ends", c.Name)
		}
		// It may wait for a first client, which will not come.
		if client, err := attach.Connect(c.RunDir()); err == nil {
			client.Close()
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
}

// monitorProcess reports whether a process is the container's monitor, or is
// about to be.
func (c *Container) monitorProcess() (bool, error) {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return false, err
	}
	for _, path := range commands {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if args := strings.Split(string(text), "\x00"); len(args) > 2 && args[1] == "monitor" && args[2] == c.Dir() {
			return true, nil
		}
	}
	return false, nil
}
