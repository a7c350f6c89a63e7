package cgroup

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// none is the manager where no group can be made. It works as long as nothing is asked that needs one.
type none struct{}

// Disabled gives the manager of a container that stays in the groups of its maker.
func Disabled() Manager { return none{} }

var errNotWritable = errors.New("no cgroup can be made here: this user has no writable (delegated) cgroup")

func (none) Create(r *specs.LinuxResources) error {
	all, err := limitsV2(r, func(string) string { return "" })
	if err != nil {
		return err
	}
	for _, s := range all {
		if !s.lifts {
			return &LimitError{s.field, errNotWritable}
		}
	}
	return nil
}

func (n none) Set(r *specs.LinuxResources) error { return n.Create(r) }

func (none) Add(_ int, sub Sub) error { return noSub(sub) }

func (none) Join(sub Sub) (*Join, error) { return &Join{CloneFD: -1}, noSub(sub) }

// noSub refuses groups below one that is not there.
func noSub(sub Sub) error {
	if len(sub) > 0 {
		return fmt.Errorf("--cgroup: %w", ErrNoGroup)
	}
	return nil
}

func (none) Unit() *Unit               { return nil }
func (none) Freeze() error             { return fmt.Errorf("pause: %w", ErrNoGroup) }
func (none) Thaw() error               { return fmt.Errorf("resume: %w", ErrNoGroup) }
func (none) Frozen() (bool, error)     { return false, nil }
func (none) Pids() ([]int, error)      { return nil, fmt.Errorf("list processes: %w", ErrNoGroup) }
func (none) Kill(syscall.Signal) error { return fmt.Errorf("signal all processes: %w", ErrNoGroup) }
func (none) Stats() (*Stats, error)    { return nil, fmt.Errorf("read statistics: %w", ErrNoGroup) }
func (none) OOMKills() (uint64, error) { return 0, nil }
func (none) Delegate(int) error        { return nil }
func (none) Destroy() error            { return nil }
func (none) Paths() map[string]string  { return map[string]string{} }
func (none) FD() int                   { return -1 }
