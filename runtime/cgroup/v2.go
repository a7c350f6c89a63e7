package cgroup

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// destroyTime is how long Destroy waits for the last processes to be gone.
const destroyTime = time.Second

// v2 manages one group of the unified hierarchy.
type v2 struct {
	group
	clone int // FD's descriptor; 0: not open
}

func newV2(root string, p cgroupPath) (*v2, error) {
	rel := strings.Join(p.parts, "/")
	if !p.absolute {
		base, err := baseV2(root)
		if err != nil {
			return nil, err
		}
		rel = filepath.Join(base, rel)
	}
	return &v2{group: group{root, rel}}, nil
}

// baseV2 finds the group below which a relative path begins: the one above this process's own, since a group with
// processes in it cannot hand controllers down, or its own where only that was delegated to this user.
func baseV2(root string) (string, error) {
	own, err := ownGroups()
	if err != nil {
		return "", fmt.Errorf("own cgroup: %w", err)
	}
	self := visible(root, own[""])
	above := filepath.Dir("/" + self)
	for _, dir := range [2]string{above, "/" + self} {
		full := filepath.Join(root, dir)
		if writable(full) && writable(filepath.Join(full, "cgroup.procs")) {
			return strings.TrimPrefix(dir, "/"), nil
		}
	}
	return "", fmt.Errorf("cgroup %s and the one above it cannot be written to", filepath.Join(root, self))
}

// enabled remembers why controllers could not be enabled on the way down, for the limit that will miss one.
type enabled map[string]error

// enable hands all controllers of the open group down to the groups below it.
func (e *enabled) enable(dir int) error {
	has, err := readAt(dir, "cgroup.controllers")
	if err != nil {
		return fmt.Errorf("read cgroup.controllers: %w", err)
	}
	if strings.TrimSpace(has) == "" {
		return nil
	}
	down, err := readAt(dir, "cgroup.subtree_control")
	if err != nil {
		return fmt.Errorf("read cgroup.subtree_control: %w", err)
	}
	on := " " + strings.TrimSpace(down) + " "
	var missing []string
	for name := range strings.FieldsSeq(has) {
		if !strings.Contains(on, " "+name+" ") {
			missing = append(missing, "+"+name)
		}
	}
	if len(missing) == 0 || writeAt(dir, "cgroup.subtree_control", strings.Join(missing, " ")) == nil {
		return nil
	}
	for _, name := range missing { // one refused controller must not cost the others
		if err := writeAt(dir, "cgroup.subtree_control", name); err != nil {
			if err == unix.EBUSY {
				err = errors.New("it has processes of its own")
			}
			if *e == nil {
				*e = make(enabled)
			}
			(*e)[name[1:]] = err
		}
	}
	return nil
}

func (m *v2) Create(r *specs.LinuxResources) (err error) {
	rules, err := deviceRules(r)
	if err != nil {
		return err
	}
	// Refuse what can be refused before anything is made.
	if _, err := limitsV2(r, func(string) string { return "max" }); err != nil {
		return err
	}
	var undo []made
	defer func() {
		if err != nil {
			takeBack(undo)
		}
	}()
	var failed enabled
	dir, created, err := m.mkdirs(&undo, func(l level) error { return failed.enable(l.parent) })
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if !created {
		g := member{m.group, []string{""}}
		if err := g.checkUnused(dir); err != nil {
			return err
		}
	}
	if err := m.set(dir, r, failed); err != nil {
		return err
	}
	if created || len(devicesOf(r)) > 0 {
		if err := setDeviceFilter(dir, deviceFilter(rules)); err != nil {
			return fmt.Errorf("cgroup %s: %w", m.path(), err)
		}
	}
	return nil
}

func (m *v2) Set(r *specs.LinuxResources) error {
	rules, err := deviceRules(r)
	if err != nil {
		return err
	}
	dir, err := m.openDir()
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := m.set(dir, r, nil); err != nil {
		return err
	}
	if len(devicesOf(r)) == 0 {
		return nil
	}
	if err := setDeviceFilter(dir, deviceFilter(rules)); err != nil {
		return fmt.Errorf("cgroup %s: %w", m.path(), err)
	}
	return nil
}

func (m *v2) set(dir int, r *specs.LinuxResources, failed enabled) error {
	all, err := limitsV2(r, func(file string) string {
		text, _ := readAt(dir, file)
		return text
	})
	if err != nil || len(all) == 0 {
		return err
	}
	text, err := readAt(dir, "cgroup.controllers")
	if err != nil {
		return fmt.Errorf("read cgroup.controllers of %s: %w", m.path(), err)
	}
	has := " " + strings.TrimSpace(text) + " "
	for _, s := range all {
		if s.lifts || s.controller == "cgroup" || strings.Contains(has, " "+s.controller+" ") {
			continue
		}
		if err := failed[s.controller]; err != nil {
			return &LimitError{s.field, fmt.Errorf("the %s controller cannot be enabled above cgroup %s: %w", s.controller, m.path(), err)}
		}
		return &LimitError{s.field, fmt.Errorf("cgroup %s has no %s controller", m.path(), s.controller)}
	}
	put := func(s *setting) error { return putAt(dir, s) }
	before := all.present(m.current)
	if err := all.apply(put); err != nil {
		before.takeBack(put)
		return err
	}
	return nil
}

// current gives a file of the group as it is, and "" for one that is not there.
func (m *v2) current(file string) string {
	text, _ := m.read(file)
	return text
}

func (m *v2) Unit() *Unit { return nil }

func (m *v2) Add(pid int, sub Sub) error {
	g, err := m.below(sub)
	if err == nil {
		err = g.write("cgroup.procs", strconv.Itoa(pid))
	}
	if err != nil {
		return fmt.Errorf("add process %d: %w", pid, err)
	}
	return nil
}

func (m *v2) below(sub Sub) (group, error) {
	path, err := sub.one()
	if err != nil {
		return group{}, err
	}
	return m.group.below(path)
}

func (m *v2) Join(sub Sub) (*Join, error) {
	g, err := m.below(sub)
	if err != nil {
		return nil, err
	}
	if g.noBirth() {
		return &Join{CloneFD: -1, ByParent: true}, nil
	}
	fd, err := g.openDir()
	if err != nil {
		return nil, err
	}
	return &Join{CloneFD: fd}, nil
}

// noBirth reports a pids.limit of 0, which forbids even the first process to be born here, though not to be moved here.
func (g group) noBirth() bool {
	text, err := g.read("pids.max")
	return err == nil && strings.TrimSpace(text) == "0"
}

func (m *v2) FD() int {
	if m.noBirth() {
		return -1
	}
	if m.clone == 0 {
		fd, err := m.openDir()
		if err != nil {
			return -1
		}
		m.clone = fd
	}
	return m.clone
}

func (m *v2) Freeze() error         { return m.freezeV2() }
func (m *v2) Thaw() error           { return m.thawV2() }
func (m *v2) Frozen() (bool, error) { return m.frozenV2() }
func (m *v2) Pids() ([]int, error)  { return m.pids() }

func (m *v2) Kill(sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		_ = m.write("cpu.max", "max") // the killed must not wait for CPU time to end, nor Destroy for them
		if done, err := m.killAll(); done || err != nil {
			return err
		}
	}
	frozen, err := m.frozenV2()
	if err == nil && !frozen && m.freezeV2() == nil {
		defer func() { _ = m.thawV2() }()
	}
	return signalAll(m.pids, sig)
}

func (m *v2) Destroy() error {
	if m.clone > 0 {
		unix.Close(m.clone)
		m.clone = 0
	}
	return m.remove(time.Now().Add(destroyTime))
}

func (m *v2) Paths() map[string]string { return map[string]string{"": m.path()} }
