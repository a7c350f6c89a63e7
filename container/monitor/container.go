package monitor

import (
	"syscall"

	"loper.run/network/dns"
	"loper.run/runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// engine is what the monitor asks of the runtime. It is values, so that tests
// can let an ordinary child process stand for a container.
type engine struct {
	protect   func(dir string) error // the monitor's own file from the container
	run       func(dir string, c *Config, s *stdio, names *dns.Descriptors, g *guard) (pid int, err error)
	exitCode  func(err error) int   // of a run that failed
	killAll   func(c *Config)       // what the first process left behind
	oomKilled func(c *Config) bool  // before remove
	remove    func(c *Config) error // cgroups, mounts and the runtime's state
	leave     func(c *Config) error // its networks
}

func realEngine() engine {
	// After the monitor has replaced itself the container is loaded anew.
	var ctr *runtime.Container
	var spec *specs.Spec
	load := func(c *Config) bool {
		if ctr == nil {
			ctr, _ = runtime.Load(c.RuntimeRoot, c.ID)
		}
		return ctr != nil
	}
	return engine{
		protect: func(dir string) (err error) {
			if spec, err = runtime.LoadSpec(dir); err != nil {
				return err
			}
			return runtime.ProtectSelf(spec)
		},
		run: func(dir string, c *Config, s *stdio, names *dns.Descriptors, g *guard) (_ int, err error) {
			o := runtime.Options{
				Root: c.RuntimeRoot, ID: c.ID, Bundle: dir, Spec: spec, Overlay: c.Overlay,
				Stdin: s.in, Stdout: s.out, Stderr: s.err, ConsoleSocket: s.console, Before: ready,
			}
			if c.space != nil {
				o.UserParent = c.space.User
			}
			o.Network = connect(c, names, g)
			if ctr, err = runtime.Run(o); err != nil {
				return 0, err
			}
			return ctr.Pid(), nil
		},
		exitCode: runtime.ExitCode,
		killAll: func(c *Config) {
			if load(c) {
				ctr.Kill(syscall.SIGKILL, true)
			}
		},
		oomKilled: func(c *Config) bool {
			if !load(c) {
				return false
			}
			group, err := ctr.Cgroup()
			if err != nil {
				return false
			}
			n, err := group.OOMKills()
			return err == nil && n > 0
		},
		remove: func(c *Config) error {
			if !load(c) {
				return nil
			}
			return ctr.Delete(true)
		},
		leave: leave,
	}
}
