package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"loper.run/internal/userns"
	"loper.run/launch"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// announceCgroup asks the parent to move the process into its cgroups.
const announceCgroup = "ready for the cgroup"

// newCgroup finds where the container's cgroups will be.
func newCgroup(spec *specs.Spec, o *Options) (m cgroup.Manager, err error) {
	path := spec.Linux.CgroupsPath
	switch {
	case o.NoCgroup:
		return cgroup.Disabled(), nil
	case o.SystemdCgroup:
		m, err = cgroup.NewScope(path, o.ID, spec.Annotations, o.rootless())
	default:
		mode := cgroup.Detect()
		if mode == cgroup.None && o.Rootless != nil && !*o.Rootless {
			return nil, errors.New("no cgroup can be made here: this user has no writable (delegated) cgroup, and rootless is false")
		}
		if path == "" {
			path = o.ID
		}
		m, err = cgroup.New(path, mode)
	}
	if err != nil {
		return nil, limitError(err)
	}
	return m, nil
}

// rootless tells whether the caller has to do with an ordinary user's rights.
func (o *Options) rootless() bool {
	if o.Rootless != nil {
		return *o.Rootless
	}
	return !userns.Privileged()
}

// makeCgroup makes the groups and sets the limits. A user who may not make them, and asks for no limit, gets none.
func (s *starting) makeCgroup() error {
	err := s.cgroup.Create(s.spec.Linux.Resources)
	refused := errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
	if refused && !s.options.SystemdCgroup && s.options.rootless() {
		none := cgroup.Disabled()
		if none.Create(s.spec.Linux.Resources) == nil {
			s.cgroup, s.container.state.Cgroups = none, nil
			err = s.container.saveState()
		}
	}
	if err != nil {
		return limitError(err)
	}
	s.grouped = true
	if s.options.SystemdCgroup {
		return nil // there is no group yet
	}
	return s.giveCgroup()
}

// giveCgroup makes the container's user the owner of its group, if the container may write to it: a group in a cgroup
// namespace of its own, with a writable mount (runtime-spec, config-linux.md, "Cgroup ownership").
func (s *starting) giveCgroup() error {
	if s.spec.Process == nil || !fresh(s.spec, specs.CgroupNamespace) || !slices.ContainsFunc(s.spec.Mounts, func(m specs.Mount) bool {
		return m.Source == "cgroup" && m.Destination == "/sys/fs/cgroup" && !slices.Contains(m.Options, "ro")
	}) {
		return nil
	}
	uid := s.spec.Process.User.UID
	if has(s.spec, specs.UserNamespace) {
		mapped, ok := hostID(s.spec.Linux.UIDMappings, uid)
		if !ok {
			return nil // also of a user namespace that is joined, whose mappings are not here
		}
		uid = mapped
	}
	err := s.cgroup.Delegate(int(uid))
	if errors.Is(err, fs.ErrPermission) && s.options.rootless() {
		return nil // an ordinary user gives nothing away
	}
	return err
}

// limitError names config.json when a limit or a path in it is bad.
func limitError(err error) error {
	var limit *cgroup.LimitError
	if errors.As(err, &limit) {
		return &ConfigError{limit.Field, limit.Err}
	}
	return fmt.Errorf("make the cgroup: %w", err)
}

// openCgroup opens what gets the new process into its cgroups, or into those at sub below them.
func (s *starting) openCgroup(sub cgroup.Sub) error {
	join, err := s.cgroup.Join(sub)
	if err != nil {
		return fmt.Errorf("join the cgroup: %w", err)
	}
	s.sub, s.byParent = sub, join.ByParent
	s.tasks = len(join.Tasks)
	for i, fd := range join.Tasks {
		s.keep(taskInput(i), os.NewFile(uintptr(fd), "tasks"))
	}
	if join.CloneFD >= 0 {
		s.into = os.NewFile(uintptr(join.CloneFD), "cgroup")
		s.owned = append(s.owned, s.into)
	}
	return nil
}

// enterCgroup moves the process, which waits, into its cgroups.
func (s *starting) enterCgroup(p *launch.Process) error {
	if err := s.cgroup.Add(p.Pid(), s.sub); err != nil {
		return limitError(err)
	}
	if s.options.SystemdCgroup {
		if err := s.giveCgroup(); err != nil {
			return err
		}
	}
	return p.Send()
}

// awaitCgroup compiles the wait for enterCgroup. No process follows this one before the program's own, so that even a
// limit of no processes at all is no hindrance.
func (c *compiler) awaitCgroup() {
	if c.host.CgroupByParent {
		c.add(launch.Op{Call: launch.Announce, Text: announceCgroup, Field: "linux.cgroupsPath"})
		c.p.Await("wait for the cgroup", 0)
	}
}

// subgroup is where one more process of the container shall be.
func (c *Container) subgroup(m cgroup.Manager, args []string) (cgroup.Sub, error) {
	sub, err := cgroup.ParseSub(args)
	if err != nil || len(sub) > 0 {
		return sub, err
	}
	return cgroup.Beside(m, c.state.Pid), nil
}
