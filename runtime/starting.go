package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"loper.run/internal/proc"
	"loper.run/internal/userns"
	"loper.run/launch"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

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
	rdtTasks  int        // how many of resctrl's
	sub       cgroup.Sub // the groups below the container's that it enters
	byParent  bool       // it is moved into its groups
	into      *os.File   // the cgroup v2 directory that it is born in, or nil
	grouped   bool       // the cgroups are this container's
	network   *os.File   // the container's network namespace, if devices go there
	moved     []movedDevice
	// connecting gets the outcome of Options.Network; nil: it doesn't run.
	connecting chan error
}

// register puts the container on record. Whoever deletes it waits for the lock.
func (s *starting) register() (lock *os.File, err error) {
	s.ns = planNamespaces(s.spec.Linux.Namespaces, userns.Privileged(), s.options.UserParent != nil)
	if s.cgroup, err = newCgroup(s.spec, &s.options); err != nil {
		return nil, err
	}
	s.container, lock, err = newContainer(&s.options, s.spec, s.cgroup)
	return lock, err
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
	lock, err := s.register()
	if err != nil {
		return nil, err
	}
	s.keep(lockInput, lock)
	defer func() {
		if err != nil {
			err = s.undo(err)
		}
		closeAll(s.owned)
	}()
	if o.Notify && s.spec.Process != nil {
		if err := s.notify(); err != nil {
			return nil, err
		}
	}
	if err := s.makeCgroup(); err != nil {
		return nil, err
	}
	if err := s.openCgroup(nil); err != nil {
		return nil, err
	}
	if err := s.makeRdt(); err != nil {
		return nil, err
	}
	host := lookAtHost(s.spec, s.spec.Process)
	host.RdtTasks = s.rdtTasks
	host.CgroupTasks, host.CgroupByParent = s.tasks, s.byParent
	host.lookAtCgroups(s.spec, s.cgroup.Paths())
	set := o.settings(gate)
	if set.Shed, err = s.protectSelf(s.spec); err != nil {
		return nil, err
	}
	if s.compiled, err = Compile(s.spec, host, set); err != nil {
		return nil, err
	}
	if err := s.gather(gate); err != nil {
		return nil, err
	}
	if err := s.openProc(&host, s.spec.Process); err != nil {
		return nil, err
	}
	s.container.warnings = s.compiled.Warnings
	traceProgram(o.Trace, s.compiled.Program)
	if o.Before != nil {
		if err := o.Before(); err != nil {
			return nil, err
		}
	}
	if err := s.launch(); err != nil {
		return nil, s.explain(err)
	}
	if err := s.container.keepRdt(s.spec.Linux.IntelRdt); err != nil {
		return nil, err
	}
	if !gate {
		if err := s.container.poststart(s.spec); err != nil {
			return nil, err
		}
	}
	return s.container, nil
}

// start starts a program. A container that dies with its maker dies with the
// thread that made it: the calling goroutine keeps that thread for good.
func (s *starting) start(program *launch.Program) (*launch.Process, error) {
	if !s.options.Detached {
		runtime.LockOSThread()
	}
	return launch.Start(program, s.files, s.into)
}

// launch starts the program and follows it to where it waits or executes.
func (s *starting) launch() error {
	p, err := s.start(s.compiled.Program)
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
		case err == io.EOF && s.container.state.Started == 0:
			p.Detach()
			return s.started(p.Pid())
		case err == io.EOF:
			p.Detach()
			return nil
		case err != nil:
			return err
		case text == announceCreated:
			if err := s.started(p.Pid()); err != nil {
				return err
			}
			if err := p.Send(); err != nil {
				return err
			}
			if s.compiled.gate {
				p.Detach()
				return nil
			}
		case text == announceCgroup:
			if err := s.enterCgroup(p); err != nil {
				return err
			}
		case text == announceTerminal:
			if err := s.options.Terminal(); err != nil {
				return err
			}
			if err := p.Send(); err != nil {
				return err
			}
		case text == announceNetwork:
			if err := s.letConnected(p); err != nil {
				return err
			}
		case text == announceListener:
			s.container.state.Pid = p.Pid()
			if err := passListener(p, s.spec.Linux.Seccomp, s.container.ociState(specs.StateCreating)); err != nil {
				return err
			}
		case text == announceHooks:
			if err := s.hooks(p); err != nil {
				return err
			}
		case text == announceLimits:
			if err := setLimits(p.Pid(), s.spec.Process, "process"); err != nil {
				return err
			}
			if err := p.Send(); err != nil {
				return err
			}
		}
	}
}

// started records the process.
func (s *starting) started(pid int) error {
	_, ticks, err := proc.Stat(pid)
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

// undo removes all that the failed start made. What can't be removed stays on
// record for 'delete --force'.
func (s *starting) undo(cause error) error {
	if p := s.container.process; p != nil {
		p.Abort()
	}
	s.connected() // what it made goes as its caller hears of the failure
	if err := s.returnDevices(); err != nil {
		cause = fmt.Errorf("%w (and %v)", cause, err)
	}
	if s.grouped {
		err := s.cgroup.Kill(unix.SIGKILL)
		if errors.Is(err, cgroup.ErrNoGroup) {
			err = nil
		}
		if destroyErr := s.cgroup.Destroy(); destroyErr != nil {
			err = destroyErr
		}
		if err != nil {
			return fmt.Errorf("%w (and its cgroup could not be removed: %v)", cause, err)
		}
	}
	if err := s.container.removeRdt(); err != nil {
		return fmt.Errorf("%w (and its resctrl group could not be removed: %v)", cause, err)
	}
	s.container.poststop(s.spec, 0)
	os.RemoveAll(s.container.dir)
	return cause
}
