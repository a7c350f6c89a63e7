package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"loper.run/internal/userns"
	"loper.run/launch"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Options is what a new container needs beyond its config.json.
type Options struct {
	// Root is the directory below which the state directories are.
	Root string
	ID   string
	// Bundle is the directory of config.json; a relative root.path begins there.
	Bundle string
	Spec   *specs.Spec
	// Overlay, when set, is the root file system instead of root.path.
	Overlay *Overlay
	// Stdin, Stdout and Stderr become the container's; nil is /dev/null.
	// They don't matter to a container with a terminal.
	Stdin, Stdout, Stderr *os.File
	// ConsoleSocket takes the master of the container's terminal.
	ConsoleSocket *os.File
	// Detached lets the container outlive the caller. Otherwise it dies with
	// the calling thread (see launch.Start).
	Detached bool
	// PreserveFDs is how many descriptors from 3 on the container inherits.
	PreserveFDs int
	// NoKeyring keeps the caller's session keyring.
	NoKeyring bool
	// Config is the text of config.json, kept for exec when the bundle may
	// change; nil: the bundle's file is read again.
	Config []byte
}

// Create makes a container and stops before its program is executed.
func Create(o Options) (*Container, error) { return create(o, true) }

// Run makes a container and starts its program.
func Run(o Options) (*Container, error) { return create(o, false) }

// Plan compiles the program that Run would walk, without touching the host.
func Plan(o Options) (*launch.Program, error) {
	spec, err := o.spec()
	if err != nil {
		return nil, err
	}
	compiled, err := Compile(spec, lookAtHost(spec), o.settings(false))
	if err != nil {
		return nil, err
	}
	return compiled.Program, nil
}

func (o *Options) settings(gate bool) Settings {
	return Settings{Overlay: o.Overlay, Gate: gate, Bound: !o.Detached, PreserveFDs: o.PreserveFDs, NoKeyring: o.NoKeyring}
}

// spec returns the caller's spec, valid and with an absolute root.
func (o *Options) spec() (*specs.Spec, error) {
	if err := Validate(o.Spec); err != nil {
		return nil, err
	}
	spec := *o.Spec
	root := *spec.Root
	if !filepath.IsAbs(root.Path) {
		root.Path = filepath.Join(o.Bundle, root.Path)
	}
	spec.Root = &root
	spec.Mounts = append([]specs.Mount(nil), spec.Mounts...)
	for i, m := range spec.Mounts {
		if isBind(m) && !filepath.IsAbs(m.Source) {
			spec.Mounts[i].Source = filepath.Join(o.Bundle, m.Source)
		}
	}
	return &spec, nil
}

// starting is a container on its way.
type starting struct {
	options   Options
	spec      *specs.Spec
	container *Container
	compiled  *Compiled
	cgroup    cgroup.Manager
	ns        namespaces
	files     launch.Files
	owned     []*os.File // closed when the start is over
	tasks     int        // how many 'tasks' files the process writes itself into
	into      *os.File   // the cgroup v2 directory that it is born in, or nil
}

func create(o Options, gate bool) (_ *Container, err error) {
	if err := CheckID(o.ID); err != nil {
		return nil, err
	}
	s := &starting{options: o, files: launch.Files{}}
	if s.spec, err = o.spec(); err != nil {
		return nil, err
	}
	if s.spec.Process != nil && s.spec.Process.Terminal && o.ConsoleSocket == nil {
		return nil, badField("process.terminal", "needs a console socket")
	}
	s.ns = planNamespaces(s.spec.Linux.Namespaces)
	if s.cgroup, err = newCgroup(s.spec, o.ID); err != nil {
		return nil, err
	}
	if s.container, err = newContainer(&o, s.spec, s.cgroup); err != nil {
		return nil, err
	}
	defer func() {
		closeAll(s.owned)
		if err != nil {
			s.undo()
		}
	}()
	if err := s.cgroup.Create(s.spec.Linux.Resources); err != nil {
		return nil, limitError(err)
	}
	if err := s.openCgroup(); err != nil {
		return nil, err
	}
	host := lookAtHost(s.spec)
	host.CgroupTasks = s.tasks
	host.Groups = s.cgroup.Paths()
	if s.compiled, err = Compile(s.spec, host, o.settings(gate)); err != nil {
		return nil, err
	}
	if err := s.gather(gate); err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		return nil, s.explain(err)
	}
	return s.container, nil
}

// newCgroup finds where the container's cgroups will be.
func newCgroup(spec *specs.Spec, id string) (cgroup.Manager, error) {
	path := spec.Linux.CgroupsPath
	if path == "" {
		path = id
	}
	m, err := cgroup.New(path, cgroup.Detect())
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return m, nil
}

// limitError names config.json when a limit in it can't be set.
func limitError(err error) error {
	var limit *cgroup.LimitError
	if errors.As(err, &limit) {
		return &ConfigError{limit.Field, limit.Err}
	}
	return fmt.Errorf("make the cgroup: %w", err)
}

// newContainer takes the id with an exclusive mkdir and writes the record that
// lets anybody clean up, before there is anything to clean up.
func newContainer(o *Options, spec *specs.Spec, m cgroup.Manager) (*Container, error) {
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, err
	}
	c := &Container{dir: filepath.Join(o.Root, o.ID), spec: spec}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("container with id %q exists already", o.ID)
		}
		return nil, err
	}
	c.state = state{
		Version: spec.Version, ID: o.ID, Bundle: o.Bundle, Rootfs: spec.Root.Path, Created: time.Now().UTC(), Owner: os.Getuid(),
		Cgroups: m.Paths(), Annotations: spec.Annotations,
	}
	err := c.saveState()
	if err == nil && o.Config != nil {
		err = os.WriteFile(filepath.Join(c.dir, configFile), o.Config, 0o600)
	}
	if err != nil {
		os.RemoveAll(c.dir)
		return nil, err
	}
	return c, nil
}

// gather opens the descriptors that the program names.
func (s *starting) gather(gate bool) error {
	if err := s.streams(s.options.Stdin, s.options.Stdout, s.options.Stderr, s.options.ConsoleSocket); err != nil {
		return err
	}
	for _, ns := range s.ns.joined {
		f, err := openNamespace(ns)
		if err != nil {
			return err
		}
		s.keep(namespaceInput(ns.Type), f)
	}
	if gate {
		f, err := listenGate(s.container.dir)
		if err != nil {
			return err
		}
		s.keep(gateInput, f)
		s.container.rememberGate(s.compiled.Program)
	}
	return nil
}

// openCgroup opens what gets the new process into its cgroups.
func (s *starting) openCgroup() error {
	join, err := s.cgroup.Join()
	if err != nil {
		return fmt.Errorf("join the cgroup: %w", err)
	}
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

func (s *starting) keep(name string, f *os.File) {
	s.files[name] = f
	s.owned = append(s.owned, f)
}

// streams names the standard streams, or the console socket.
func (s *starting) streams(in, out, err, console *os.File) error {
	if console != nil {
		s.files[ConsoleInput] = console
	}
	for i, f := range []*os.File{in, out, err} {
		if f == nil {
			null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			s.keep(streamInputs[i], null)
			continue
		}
		s.files[streamInputs[i]] = f
	}
	return nil
}

// openNamespace opens a namespace and makes sure that it is one, of that type.
func openNamespace(ns specs.LinuxNamespace) (*os.File, error) {
	f, err := os.Open(ns.Path)
	if err != nil {
		return nil, badField("linux.namespaces", "%w", err)
	}
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || uintptr(kind) != namespaceFlag(ns.Type) {
		f.Close()
		return nil, badField("linux.namespaces", "%s is no %s namespace", ns.Path, ns.Type)
	}
	return f, nil
}

// launch starts the program and follows it to where it waits or executes.
func (s *starting) launch() error {
	p, err := launch.Start(s.compiled.Program, s.files, s.into)
	if err != nil {
		return err
	}
	s.container.process = p
	if err := s.settle(p); err != nil {
		return err
	}
	for {
		text, err := p.Next()
		switch {
		case err == io.EOF, err == nil && text == announceCreated:
			p.Detach()
			return s.started(p.Pid())
		case err != nil:
			return err
		case text == announceLimits:
			if err := setRlimits(p.Pid(), s.spec.Process, "process"); err != nil {
				return err
			}
			if err := p.Send(); err != nil {
				return err
			}
		}
	}
}

// settle gives the new process what only its parent can: the ids of its user
// namespace, its standing with the OOM killer, and the prepared mounts.
func (s *starting) settle(p *launch.Process) error {
	if s.ns.user && s.ns.later != 0 || s.ns.time {
		if text, err := p.Next(); err != nil || text != announceUser {
			return errors.Join(err, errors.New("the new namespaces didn't come up"))
		}
	}
	if s.ns.user {
		if err := userns.Write(p.Pid(), s.spec.Linux.UIDMappings, s.spec.Linux.GIDMappings); err != nil {
			return badField("linux.uidMappings", "%w", err)
		}
	}
	if s.ns.time {
		if err := writeTimeOffsets(p.Pid(), s.spec.Linux.TimeOffsets); err != nil {
			return err
		}
	}
	if s.spec.Process != nil && s.spec.Process.OOMScoreAdj != nil {
		if err := setOOMScore(p.Pid(), *s.spec.Process.OOMScoreAdj); err != nil {
			return err
		}
	}
	if !s.ns.user && !s.ns.time && len(s.compiled.Handovers) == 0 {
		return nil
	}
	var user *os.File
	if has(s.spec, specs.UserNamespace) {
		f, err := os.Open("/proc/" + strconv.Itoa(p.Pid()) + "/ns/user")
		if !s.ns.user {
			f, err = s.files[namespaceInput(specs.UserNamespace)], nil
		}
		if err != nil {
			return err
		}
		user = f
		s.owned = append(s.owned, f)
	}
	mounts, err := prepareMounts(s.spec, s.options.settings(false), s.compiled.Handovers, user)
	if err != nil {
		return err
	}
	defer closeAll(mounts)
	return p.Send(mounts...)
}

// writeProc writes a file of /proc in one write.
func writeProc(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

func setOOMScore(pid, score int) error {
	if err := writeProc("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", strconv.Itoa(score)); err != nil {
		return badField("process.oomScoreAdj", "%w", err)
	}
	return nil
}

func writeTimeOffsets(pid int, offsets map[string]specs.LinuxTimeOffset) error {
	for clock, o := range offsets {
		text := fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs)
		if err := writeProc("/proc/"+strconv.Itoa(pid)+"/timens_offsets", text); err != nil {
			return badField("linux.timeOffsets."+clock, "%w", err)
		}
	}
	return nil
}

// started records the process.
func (s *starting) started(pid int) error {
	_, ticks, err := processStat(pid)
	if err != nil {
		return fmt.Errorf("look at the new process: %w", err)
	}
	s.container.state.Pid, s.container.state.Started = pid, ticks
	return s.container.saveState()
}

// explain replaces a misleading error by its cause.
func (s *starting) explain(err error) error {
	if errors.Is(err, launch.ErrDied) {
		if n, oomErr := s.cgroup.OOMKills(); oomErr == nil && n > 0 {
			return badField("linux.resources.memory.limit", "is too low: the kernel ended the container's start for lack of memory")
		}
	}
	return execError(err, s.spec.Process)
}

// undo removes all that the failed start made.
func (s *starting) undo() {
	if p := s.container.process; p != nil {
		p.Abort()
	}
	s.cgroup.Kill(unix.SIGKILL)
	s.cgroup.Destroy()
	os.RemoveAll(s.container.dir)
}

// startWaiting starts a process in new namespaces that does nothing but wait
// to be ended.
func startWaiting(flags uintptr) (*launch.Process, error) {
	p := &launch.Program{Namespaces: flags}
	p.Await("wait", 0)
	return launch.Start(p, nil, nil)
}
