package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"loper.run/internal/atomicfile"
	"loper.run/internal/proc"
	"loper.run/launch"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// state is what is kept of a container in state.json. What the kernel knows is
// not in it.
type state struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs,omitempty"`
	Pid         int               `json:"pid,omitempty"`
	Started     uint64            `json:"startTime,omitempty"` // clock ticks since boot, /proc/PID/stat field 22
	OwnPids     bool              `json:"ownPids,omitempty"`   // a pid namespace that ends with its first process
	Bound       bool              `json:"bound,omitempty"`     // it ends with who made it
	Created     time.Time         `json:"created"`
	Owner       int               `json:"owner"`
	Cgroups     map[string]string `json:"cgroups,omitempty"`
	Unit        *cgroup.Unit      `json:"unit,omitempty"` // systemd's, that holds the cgroups
	Annotations map[string]string `json:"annotations,omitempty"`
	Gate        []operation       `json:"gate,omitempty"` // what is left to do at start
	GateFirst   int               `json:"gateFirst,omitempty"`
	Poststop    bool              `json:"poststop,omitempty"` // config.json has hooks for the end
	IntelRdt    *rdtGroups        `json:"intelRdt,omitempty"`
}

// operation is what an error message needs to know of a launch.Op.
type operation struct {
	Call, Text, Field string
}

const (
	stateFile   = "state.json"
	configFile  = "config.json"
	gateSocket  = "gate"
	waitingFile = "waiting"
)

func (c *Container) saveState() error {
	return atomicfile.WriteJSON(filepath.Join(c.dir, stateFile), &c.state, 0o600, atomicfile.Volatile)
}

// Container is a container that a runtime made.
type Container struct {
	dir      string
	state    state
	spec     *specs.Spec     // nil until it is needed
	process  *launch.Process // in the process that created it
	warnings []string
}

// ID is the container's id.
func (c *Container) ID() string { return c.state.ID }

// Bundle is the directory that the container was made from.
func (c *Container) Bundle() string { return c.state.Bundle }

// Rootfs is the directory of the container's root file system.
func (c *Container) Rootfs() string { return c.state.Rootfs }

// Created is when the container was made.
func (c *Container) Created() time.Time { return c.state.Created }

// Owner is the user id of who made the container.
func (c *Container) Owner() int { return c.state.Owner }

// Load finds a container by its id. The error matches os.ErrNotExist when
// there is none. When it is a *DamagedError, there is a container too, which
// can be deleted by force.
func Load(root, id string) (*Container, error) {
	if err := CheckID(id); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(root, id), state: state{ID: id}}
	if _, err := os.Lstat(c.dir); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = os.ErrNotExist
		}
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	if err := checkRoot(root); err != nil {
		return nil, err
	}
	return c, c.readState()
}

// Warnings are what the configuration asks for in vain, a line each. Those of
// a container that was loaded are gone.
func (c *Container) Warnings() []string { return c.warnings }

// List returns the containers below root, by name, and what is wrong with
// those that are damaged.
func List(root string) (list []*Container, damaged []error, err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if CheckID(e.Name()) != nil {
			continue
		}
		c, err := Load(root, e.Name())
		var d *DamagedError
		switch {
		case errors.Is(err, os.ErrNotExist): // deleted meanwhile
		case errors.As(err, &d):
			damaged = append(damaged, fmt.Errorf("container %q: %w", e.Name(), err))
		case err != nil:
			return nil, nil, err
		default:
			list = append(list, c)
		}
	}
	return list, damaged, nil
}

// Pid is the container's first process, or 0.
func (c *Container) Pid() int {
	if c.process != nil { // our child: the id is its own until Wait
		return c.process.Pid()
	}
	if c.alive() {
		return c.state.Pid
	}
	return 0
}

// State is the container's state (runtime-spec, "State").
func (c *Container) State() (specs.State, error) { return c.ociState(c.Status()), nil }

// ociState is the state of a container with the given status.
func (c *Container) ociState(status specs.ContainerState) specs.State {
	s := specs.State{Version: specs.Version, ID: c.state.ID, Status: status, Bundle: c.state.Bundle, Annotations: c.state.Annotations}
	if status != specs.StateStopped {
		s.Pid = c.state.Pid
	}
	return s
}

// StatusPaused is the status of a frozen container; runc and crun have it too.
const StatusPaused specs.ContainerState = "paused"

// Status asks the kernel what the container does.
func (c *Container) Status() specs.ContainerState {
	if c.state.Pid == 0 && c.beingMade() {
		return specs.StateCreating
	}
	return c.statusOfMade()
}

// statusOfMade is the status of a container that nobody is making any more, or
// whose lock the caller has.
func (c *Container) statusOfMade() specs.ContainerState {
	if !c.alive() {
		return specs.StateStopped
	}
	if m, err := c.Cgroup(); err == nil {
		if frozen, err := m.Frozen(); err == nil && frozen {
			return StatusPaused
		}
	}
	if c.waits() {
		return specs.StateCreated
	}
	return specs.StateRunning
}

// alive tells whether the first process lives: the one with the recorded id
// and start time, and not yet a zombie.
func (c *Container) alive() bool {
	if c.state.Pid <= 0 {
		return false
	}
	status, started, err := proc.Stat(c.state.Pid)
	return err == nil && started == c.state.Started && status != 'Z' && status != 'X'
}

// pidInside is the id of a process in the pid namespace that it is in itself.
func pidInside(pid int) (int, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	ids := strings.Fields(line)
	if len(ids) == 0 {
		return pid, nil // a kernel without pid namespaces
	}
	return strconv.Atoi(ids[len(ids)-1])
}

// Pidfd refers to the container's first process.
func (c *Container) Pidfd() (*os.File, error) {
	fd, err := unix.PidfdOpen(c.state.Pid, 0)
	if err != nil {
		return nil, fmt.Errorf("container %q is not running", c.state.ID)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	if !c.alive() { // checked after opening: the id can't be another's now
		f.Close()
		return nil, fmt.Errorf("container %q is not running", c.state.ID)
	}
	return f, nil
}

// Spec is the config.json that the container was made from.
func (c *Container) Spec() (*specs.Spec, error) {
	if c.spec != nil {
		return c.spec, nil
	}
	spec, err := c.ownSpec()
	if errors.Is(err, os.ErrNotExist) {
		spec, err = LoadSpec(c.state.Bundle)
	}
	c.spec = spec
	return spec, err
}

// ownSpec is the copy that create keeps.
func (c *Container) ownSpec() (*specs.Spec, error) {
	data, err := readRegular(filepath.Join(c.dir, configFile))
	if err != nil {
		return nil, err
	}
	return ParseSpec(data)
}
