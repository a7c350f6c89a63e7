package cgroup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (m *v1) Unit() *Unit { return nil }

func (m *v1) Add(pid int, sub Sub) error {
	groups, err := m.below(sub)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if err := g.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("add process %d: %w", pid, err)
		}
	}
	return nil
}

func (m *v1) Join(sub Sub) (*Join, error) {
	groups, err := m.below(sub)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if slices.Contains(g.controllers, "pids") && g.noBirth() {
			return &Join{CloneFD: -1, ByParent: true}, nil // once inside it could not go on in another pid namespace
		}
	}
	j := &Join{CloneFD: -1}
	for _, g := range groups {
		var fd int
		var err error
		if g.unified() {
			fd, err = g.openDir()
			j.CloneFD = fd
		} else if fd, err = g.open("tasks", unix.O_WRONLY); err == nil {
			j.Tasks = append(j.Tasks, fd)
		}
		if err != nil {
			j.Close()
			return nil, err
		}
	}
	return j, nil
}

func (m *v1) Freeze() error {
	if g := m.find(""); g != nil {
		return g.freezeV2()
	}
	if g := m.find("freezer"); g != nil {
		return g.freezeV1()
	}
	return errors.New("freeze: the freezer controller is not mounted on this machine")
}

func (m *v1) Thaw() error {
	// Another tool may have used the one that Freeze does not: undo both.
	u, f := m.find(""), m.find("freezer")
	if u != nil {
		if err := u.thawV2(); err != nil {
			return err
		}
	}
	if f != nil {
		return f.thawV1()
	}
	return nil
}

func (m *v1) Frozen() (bool, error) {
	if g := m.find(""); g != nil {
		if frozen, err := g.frozenV2(); frozen || err != nil {
			return frozen, err
		}
	}
	if g := m.find("freezer"); g != nil {
		return g.frozenV1()
	}
	return false, nil
}

func (m *v1) Pids() ([]int, error) {
	for _, controller := range [3]string{"", "pids", "devices"} {
		if g := m.find(controller); g != nil {
			return g.pids()
		}
	}
	return m.groups[0].pids()
}

// allPids looks into every hierarchy: a process with access to some of them may have left the others.
func (m *v1) allPids() ([]int, error) {
	var all []int
	for _, g := range m.groups {
		pids, err := g.pids()
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (m *v1) Kill(sig syscall.Signal) error {
	if sig != syscall.SIGKILL {
		frozen, err := m.Frozen()
		if err == nil && !frozen && m.Freeze() == nil {
			defer func() { _ = m.Thaw() }()
		}
		return signalAll(m.allPids, sig)
	}
	if g := m.find("cpu"); g != nil {
		_ = g.write("cpu.cfs_quota_us", "-1") // the killed must not wait for CPU time to end, nor Destroy for them
	}
	swept := false
	if g := m.find(""); g != nil {
		var err error
		if swept, err = g.killAll(); err != nil {
			return fmt.Errorf("kill all: %w", err)
		}
	}
	f := m.find("freezer")
	if f != nil && !swept {
		_ = f.freezeV1() // nobody can fork while the others are signalled; where it fails the rounds must do
	}
	err := signalAll(m.allPids, sig)
	if f != nil { // the v1 freezer holds even the killed
		if state, rerr := f.read("freezer.state"); rerr == nil && strings.TrimSpace(state) != "THAWED" {
			err = errors.Join(err, f.thawV1())
		}
	}
	return err
}

func (m *v1) Delegate(int) error { return nil }

func (m *v1) Destroy() error {
	deadline := time.Now().Add(destroyTime)
	var failed error
	for _, g := range m.groups {
		if err := g.remove(deadline); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func (m *v1) Paths() map[string]string {
	paths := make(map[string]string)
	for _, g := range m.groups {
		for _, c := range g.controllers {
			paths[c] = g.path()
		}
	}
	return paths
}

func (m *v1) FD() int { return -1 }
