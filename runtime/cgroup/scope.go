package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"

	"loper.run/runtime/cgroup/systemd"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Unit is the systemd unit that holds a container's groups. A container's record keeps it.
type Unit struct {
	Name string `json:"name"`
	// User tells that it belongs to the calling user's systemd and not to the machine's.
	User bool `json:"user,omitempty"`
}

// scope is a container's place in groups that systemd makes: a scope unit. systemd is told every limit that it has a
// property for, so that it never undoes one; all of them are then written into the groups too, as v1 and v2 do.
type scope struct {
	Manager // the groups' files
	unit    Unit
	bus     []string // addresses; nil until they are needed

	// Of a new container alone:
	slice     string
	id        string
	extra     []systemd.Property // by annotations
	resources *specs.LinuxResources
	pending   bool // there is no unit yet: it takes a process to make one
}

// NewScope gives the manager of groups that systemd makes when the first process is added to them. path is
// linux.cgroupsPath of the form slice:prefix:name, id the container's, and annotations may set more properties of the
// unit. The unit belongs to the systemd of the calling user if user is set.
//
// It doesn't matter what this process may write to: systemd does it.
func NewScope(path, id string, annotations map[string]string, user bool) (Manager, error) {
	addresses, err := systemd.Addresses(user)
	if err != nil {
		return nil, fmt.Errorf("cgroups by systemd: %w", err)
	}
	mode := V1
	if fsType(mountRoot) == unix.CGROUP2_SUPER_MAGIC {
		mode = V2
	}
	return newScope(mountRoot, path, id, annotations, mode, user, addresses)
}

func newScope(root, cgroupsPath, id string, annotations map[string]string, mode Mode, user bool, addresses []string) (*scope, error) {
	if user && mode == V1 {
		return nil, errors.New("cgroups by systemd: an ordinary user has none on cgroup v1")
	}
	names, err := systemd.ParsePath(cgroupsPath, id, user)
	if err != nil {
		return nil, &LimitError{"linux.cgroupsPath", fmt.Errorf("%q: %w", cgroupsPath, err)}
	}
	dir, err := systemd.ExpandSlice(names.Slice)
	if err != nil {
		return nil, &LimitError{"linux.cgroupsPath", fmt.Errorf("%q: %w", cgroupsPath, err)}
	}
	s := &scope{unit: Unit{names.Unit, user}, bus: addresses, slice: names.Slice, id: id, pending: true}
	if s.extra, err = systemd.FromAnnotations(annotations); err != nil {
		return nil, &LimitError{"annotations", err}
	}
	if user {
		var base string
		err := s.ask(func(b *systemd.Bus) (err error) {
			base, err = b.ControlGroup()
			return err
		})
		if err != nil {
			return nil, err
		}
		dir = path.Join(base, dir)
	}
	p, err := parsePath(path.Join("/", dir, names.Unit))
	if err != nil {
		return nil, fmt.Errorf("cgroup of the unit %s: %w", names.Unit, err)
	}
	if mode == V1 {
		s.Manager, err = newV1(root, p)
	} else {
		s.Manager = &v2{group: group{root, strings.Join(p.parts, "/")}}
	}
	return s, err
}

// ask connects to systemd for one errand.
func (s *scope) ask(errand func(*systemd.Bus) error) error {
	if s.bus == nil {
		var err error
		if s.bus, err = systemd.Addresses(s.unit.User); err != nil {
			return fmt.Errorf("cgroups by systemd: %w", err)
		}
	}
	b, err := systemd.Dial(s.bus)
	if err != nil {
		return fmt.Errorf("cgroups by systemd: %w", err)
	}
	defer b.Close()
	return errand(b)
}

func (s *scope) Unit() *Unit { return &s.unit }

// Create looks whether r can be set, and keeps it for Add: systemd makes no group without a process.
func (s *scope) Create(r *specs.LinuxResources) error {
	if err := s.check(r); err != nil {
		return err
	}
	s.resources = r
	return nil
}

// check refuses what can be refused before there is a group.
func (s *scope) check(r *specs.LinuxResources) error {
	if _, err := deviceProperties(r, s.v1()); err != nil {
		return err
	}
	groups := []member{}
	switch m := s.Manager.(type) {
	case *v1:
		if _, err := m.limits(r); err != nil {
			return err
		}
		groups = m.groups
	case *v2:
		if _, err := limitsV2(r, func(string) string { return "max" }); err != nil {
			return err
		}
		groups = append(groups, member{m.group, []string{""}})
	}
	for i := range groups {
		pids, err := groups[i].pids()
		if err != nil {
			return err
		}
		if len(pids) > 0 {
			return &LimitError{"linux.cgroupsPath", fmt.Errorf("cgroup %s has processes already", groups[i].path())}
		}
	}
	return nil
}

func (s *scope) v1() bool {
	_, is := s.Manager.(*v1)
	return is
}

// Join leaves a new process to Add: there is no group before, and later an ordinary user may not move processes into
// groups of the user's systemd from elsewhere.
func (s *scope) Join(sub Sub) (*Join, error) {
	if s.pending || s.unit.User {
		return &Join{CloneFD: -1, ByParent: true}, nil
	}
	return s.Manager.Join(sub)
}

// Add has systemd make the unit for the first process, and sets the limits before it returns. Later ones are moved.
func (s *scope) Add(pid int, sub Sub) error {
	if !s.pending {
		if !s.unit.User {
			return s.Manager.Add(pid, sub)
		}
		below, err := sub.one()
		if err != nil {
			return err
		}
		return s.ask(func(b *systemd.Bus) error { return b.Attach(s.unit.Name, below, pid) })
	}
	err := s.ask(func(b *systemd.Bus) error {
		properties, err := s.properties(b, pid)
		if err != nil {
			return err
		}
		if err := b.Start(s.unit.Name, properties); err != nil {
			return err
		}
		s.pending = false
		return nil
	})
	if err != nil {
		return err
	}
	switch m := s.Manager.(type) {
	case *v1:
		return m.adopt(pid, s.resources)
	case *v2:
		return m.adopt(s.resources)
	}
	return nil
}

// Set tells systemd and writes the files. Where a file refuses its value, systemd too gets back what was there.
func (s *scope) Set(r *specs.LinuxResources) error {
	all, before, err := s.plan(r)
	if err != nil {
		return err
	}
	return s.ask(func(b *systemd.Bus) error {
		properties, err := limitProperties(all, s.v1(), s.read, b.Version)
		if err != nil {
			return err
		}
		if len(devicesOf(r)) > 0 && !s.unit.User {
			devices, err := deviceProperties(r, s.v1())
			if err != nil {
				return err
			}
			properties = append(properties, devices...)
		}
		if len(properties) > 0 {
			if err := s.change(b, properties, r); err != nil {
				return err
			}
		}
		err = s.Manager.Set(r)
		if err != nil && len(before) > 0 {
			back, backErr := limitProperties(before, s.v1(), s.read, b.Version)
			if backErr == nil && len(back) > 0 {
				backErr = b.Change(s.unit.Name, back)
			}
			err = errors.Join(err, backErr)
		}
		return err
	})
}

// change sets properties. systemd gives a v1 group new device rules by denying all for a moment, in which the
// container's processes must not run.
func (s *scope) change(b *systemd.Bus, properties []systemd.Property, r *specs.LinuxResources) error {
	if s.v1() && len(devicesOf(r)) > 0 {
		if frozen, err := s.Frozen(); err == nil && !frozen && s.Freeze() == nil {
			defer func() { _ = s.Thaw() }()
		}
	}
	return b.Change(s.unit.Name, properties)
}

// plan gives the settings for r and those that the groups have now instead.
func (s *scope) plan(r *specs.LinuxResources) (all, before list, err error) {
	switch m := s.Manager.(type) {
	case *v1:
		all, err = m.limits(r)
	case *v2:
		all, err = limitsV2(r, s.read)
	}
	if err != nil {
		return nil, nil, err
	}
	return all, all.present(s.read), nil
}

// read gives a file of the groups, and "" for one that is not there.
func (s *scope) read(file string) string {
	switch m := s.Manager.(type) {
	case *v1:
		return m.current(file)
	case *v2:
		return m.current(file)
	}
	return ""
}

// Kill and Destroy leave alone what is not the container's yet: a unit of the same name can be another's.

func (s *scope) Kill(sig syscall.Signal) error {
	if s.pending {
		return nil
	}
	return s.Manager.Kill(sig)
}

func (s *scope) Destroy() error {
	if s.pending {
		return nil
	}
	err := s.ask(func(b *systemd.Bus) error { return b.Stop(s.unit.Name) })
	// What systemd does not know of, or can't be asked to remove, is removed here. Of a unit without a group nothing
	// stays, also where systemd doesn't answer.
	if filesErr := s.Manager.Destroy(); filesErr != nil {
		return errors.Join(err, filesErr)
	}
	return nil
}

// A new group has nobody in it before Add.

func (s *scope) Pids() ([]int, error) {
	if s.pending {
		return nil, nil
	}
	return s.Manager.Pids()
}

func (s *scope) OOMKills() (uint64, error) {
	if s.pending {
		return 0, nil
	}
	return s.Manager.OOMKills()
}
