package runtime

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"loper.run/launch"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ExecOptions describe one more process of a running container.
type ExecOptions struct {
	Process               *specs.Process
	Stdin, Stdout, Stderr *os.File
	ConsoleSocket         *os.File
	// Terminal, Before and Trace are as in Options.
	Terminal func() error
	Before   func()
	Trace    func(string)
	// Detached lets the process outlive the caller.
	Detached    bool
	PreserveFDs int
	// Cgroup is where the process shall be below the container's cgroup: a
	// path, or on cgroup v1 CONTROLLER[,CONTROLLER]:PATH, as often as needed.
	Cgroup []string
	// Paused allows it in a frozen container; the process then waits.
	Paused bool
}

// Process is a process that Exec started. It is a child of the caller.
type Process struct {
	p        *launch.Process
	warnings []string
}

// Pid is its process id in the caller's pid namespace.
func (p *Process) Pid() int { return p.p.Pid() }

// Pidfd refers to it. It is closed with the Process.
func (p *Process) Pidfd() *os.File { return p.p.Pidfd() }

// Signal sends it a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.p.Signal(s) }

// Warnings are what its configuration asks for in vain, a line each.
func (p *Process) Warnings() []string { return p.warnings }

// Wait waits for its end.
func (p *Process) Wait() (syscall.WaitStatus, error) { return p.p.Wait() }

// Close releases the descriptors.
func (p *Process) Close() { p.p.Close() }

// Exec runs one more process in the container. The caller becomes its parent.
func (c *Container) Exec(o ExecOptions) (_ *Process, err error) {
	if o.Process == nil {
		return nil, badField("process", "is missing")
	}
	spec, err := c.Spec()
	if err != nil {
		return nil, err
	}
	o.Process = withDefaults(*o.Process, spec.Process)
	status := c.Status()
	if status != specs.StateRunning && status != specs.StateCreated && !(status == StatusPaused && o.Paused) {
		return nil, fmt.Errorf("container %q is %s: no process can be started in it", c.state.ID, status)
	}
	if o.Process.Terminal && o.ConsoleSocket == nil {
		return nil, badField("process.terminal", "needs a console socket")
	}
	m, err := c.Cgroup()
	if err != nil {
		return nil, err
	}
	s := &starting{options: Options{Detached: o.Detached}, spec: spec, container: c, files: launch.Files{}, cgroup: m}
	defer func() { closeAll(s.owned) }()
	sub, err := c.subgroup(m, o.Cgroup)
	if err != nil {
		return nil, err
	}
	if err := s.openCgroup(sub); err != nil {
		return nil, err
	}
	if err := s.reopenRdt(); err != nil {
		return nil, err
	}
	host := lookAtHost(spec, o.Process)
	host.RdtTasks = s.rdtTasks
	host.CgroupTasks, host.CgroupByParent = s.tasks, s.byParent
	set := Settings{Bound: !o.Detached, AskTerminal: o.Terminal != nil, PreserveFDs: o.PreserveFDs}
	if set.Shed, err = s.protectSelf(spec); err != nil {
		return nil, err
	}
	compiled, err := CompileExec(spec, o.Process, host, set)
	if err != nil {
		return nil, err
	}
	if err := s.streams(o.Stdin, o.Stdout, o.Stderr, o.ConsoleSocket); err != nil {
		return nil, err
	}
	if err := s.openProc(&host, o.Process); err != nil {
		return nil, err
	}
	pidfd, err := c.Pidfd()
	if err != nil {
		return nil, err
	}
	s.keep(containerInput, pidfd)
	traceProgram(o.Trace, compiled.Program)
	if o.Before != nil {
		o.Before()
	}
	p, err := s.execute(compiled.Program, o)
	if err != nil {
		return nil, execError(err, o.Process)
	}
	return &Process{p, compiled.Warnings}, nil
}

// execute starts the program and gives it what it asks its parent for.
func (s *starting) execute(program *launch.Program, o ExecOptions) (*launch.Process, error) {
	var initial string
	if a := o.Process.ExecCPUAffinity; a != nil {
		initial = a.Initial
	}
	var p *launch.Process
	err := onCPUs(initial, "process.execCPUAffinity.initial", func() (err error) {
		p, err = s.start(program)
		return err
	})
	if err != nil {
		return nil, err
	}
	for err == nil {
		var text string
		if text, err = p.Next(); err != nil {
			break
		}
		switch text {
		case announceCgroup:
			err = s.cgroup.Add(p.Pid(), s.sub)
		case announceLimits:
			err = setLimits(p.Pid(), o.Process, "process")
		case announceTerminal:
			err = o.Terminal()
		case announceListener:
			if err = passListener(p, s.spec.Linux.Seccomp, s.container.ociState(s.container.Status())); err == nil {
				continue // it let the process go on
			}
		}
		if err == nil {
			err = p.Send()
		}
	}
	if err != io.EOF {
		p.Abort()
		return nil, err
	}
	p.Detach()
	return p, nil
}

// Cgroup is the manager of the container's groups.
func (c *Container) Cgroup() (cgroup.Manager, error) {
	return cgroup.Load(c.state.Cgroups, c.state.Unit)
}
