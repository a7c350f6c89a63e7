// Package cgroup puts a container's processes into control groups and sets, changes and reads their limits
// (runtime-spec, config-linux.md, "Control groups").
//
// A Manager stands for the one group (cgroup v2) or the set of groups of the same path, one a hierarchy (cgroup v1 and
// hybrid), of a container. It holds no descriptors between calls (but for FD), so one made by Load costs nothing to keep. The
// limits are first turned into a plain list of 'this value into that file' (limitsV1, limitsV2) and then written by
// one loop, which is why their tests need no kernel.
package cgroup

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Mode is the kind of cgroup file system that this process can use.
type Mode int

const (
	None Mode = iota // no group can be made: not root, and nothing was delegated
	V1               // a hierarchy for each controller; in 'hybrid' also a cgroup v2 hierarchy without controllers
	V2               // the one unified hierarchy
)

// String names the mode as people write it.
func (m Mode) String() string {
	switch m {
	case V1:
		return "v1"
	case V2:
		return "v2"
	}
	return "none"
}

// ErrNoGroup is wrapped by operations that need a group when the Manager has none (mode None).
var ErrNoGroup = errors.New("the container has no cgroup")

// LimitError says that one limit of linux.resources, or another wish of config.json, cannot be had.
type LimitError struct {
	Field string // dotted path in config.json, such as linux.resources.memory.limit
	Err   error
}

// Error gives the field and the reason on one line.
func (e *LimitError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *LimitError) Unwrap() error { return e.Err }

// Manager is a container's place in the cgroup hierarchies. Its methods may be called from several processes at once,
// but Create only by one.
type Manager interface {
	// Create makes the groups and sets r. The device rules of a new group begin with 'deny all' and end with
	// DefaultDevices. A group that is there already must be empty and not frozen. On an error all that it made is gone.
	Create(r *specs.LinuxResources) error
	// Add moves process pid into the groups, or into those at sub below them. It takes a kernel-wide lock that, on an idle machine, waits for an RCU
	// grace period (5 ms and more); Join has no such cost and is for new processes.
	Add(pid int, sub Sub) error
	// Join opens what a new process needs to be born in, or move itself into, the groups, or those at sub below them.
	Join(sub Sub) (*Join, error)
	// Set changes the limits that are in r and leaves all others. Devices are replaced when r has any. What was set
	// before an error is taken back.
	Set(r *specs.LinuxResources) error
	// Freeze stops every process of the group and returns when all have stopped; Thaw lets them go on.
	Freeze() error
	Thaw() error
	Frozen() (bool, error)
	// Pids lists the processes of the group and of the groups below it, sorted.
	Pids() ([]int, error)
	// Kill sends sig to every process of the group and of those below, including ones being forked meanwhile. With
	// SIGKILL a frozen group dies too. A group that is gone has nobody to signal: no error.
	Kill(sig syscall.Signal) error
	// Stats reads what the container has used.
	Stats() (*Stats, error)
	// OOMKills counts the processes that the kernel's out-of-memory killer ended in the group.
	OOMKills() (uint64, error)
	// WatchOOM begins to watch for the out-of-memory killer. The caller closes what it gives.
	WatchOOM() (*OOMWatch, error)
	// Delegate gives the group to uid, so that the container may make its own groups below it (runtime-spec, "Cgroup
	// ownership"). It does nothing on v1, where that is not safe.
	Delegate(uid int) error
	// Destroy removes the groups and those below. It ends no process; while the last ones exit it retries for about a
	// second. Groups that are gone already are no error.
	Destroy() error
	// Paths gives the groups' directories by controller; "" is the cgroup v2 one. Load takes it.
	Paths() map[string]string
	// Unit is systemd's unit that holds the groups, or nil. Load takes it too.
	Unit() *Unit
	// FD is an open directory for clone3's CLONE_INTO_CGROUP on v2, and -1 elsewhere, where that flag would not be
	// enough (see Join). It belongs to the Manager, which closes it in Destroy.
	FD() int
}

// New gives the manager of the groups at path (linux.cgroupsPath). An absolute path begins at the root of each
// hierarchy. A relative one begins, on v1, at this process's own group and, on v2, at the nearest group around this
// process that it may write to. Nothing is made yet.
func New(path string, mode Mode) (Manager, error) {
	p, err := parsePath(path)
	if err != nil {
		return nil, &LimitError{"linux.cgroupsPath", fmt.Errorf("%q: %w", path, err)}
	}
	switch mode {
	case V1:
		return newV1(mountRoot, p)
	case V2:
		return newV2(mountRoot, p)
	}
	return none{}, nil
}

// Load gives the manager of groups made earlier, from what Paths and Unit returned. The groups need not exist any more.
func Load(paths map[string]string, unit *Unit) (Manager, error) {
	m, err := load(paths)
	if err != nil || unit == nil {
		return m, err
	}
	return &scope{Manager: m, unit: *unit}, nil
}

func load(paths map[string]string) (Manager, error) {
	if len(paths) == 0 {
		return none{}, nil
	}
	if dir, ok := paths[""]; ok && len(paths) == 1 {
		g, err := groupAt(mountRoot, dir)
		if err != nil {
			return nil, err
		}
		return &v2{group: g}, nil
	}
	return loadV1(mountRoot, paths)
}
