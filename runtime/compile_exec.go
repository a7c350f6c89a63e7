package runtime

import (
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// containerInput names the pidfd of the container's first process.
const containerInput = "container"

// CompileExec turns a process into the program that runs it in a container
// that spec started.
func CompileExec(spec *specs.Spec, p *specs.Process, host Host, set Settings) (*Compiled, error) {
	set.exec = true
	c := &compiler{p: &launch.Program{Preserve: set.PreserveFDs}, spec: spec, host: host, set: set}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.warnings = nil // of the filter, which were given when the container was made
	if err := validateProcess("process", p); err != nil {
		return nil, err
	}
	c.inVain(p, "process")
	c.oomScore(p, true)
	c.joinCgroup()
	c.joinRdt()
	c.add(quiet)
	var flags uintptr
	for _, ns := range spec.Linux.Namespaces {
		flags |= namespaceFlag(ns.Type)
	}
	if flags != 0 {
		c.add(launch.Op{
			Call: launch.Setns, Args: []launch.Arg{launch.Input(containerInput), launch.Int(flags)},
			Text: "join the container's namespaces",
		})
	}
	if has(spec, specs.UserNamespace) {
		c.becomeRoot()
		c.add(quiet) // a change of user undoes it
	}
	c.shed()
	if flags&(unix.CLONE_NEWPID|cloneNewTime) != 0 {
		c.add(launch.Op{Call: launch.Fork, Args: []launch.Arg{launch.Int(0)}, Text: "go on in the container's pid namespace"})
	}
	c.awaitCgroup()
	c.cpus(p, "process")
	c.root = c.p.NewSlot()
	c.add(launch.Op{
		Call: launch.Openat, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY")},
		Result: c.root, Text: "open the container's root",
	})
	if p.Terminal {
		c.openTerminal(p)
	}
	if err := c.process(p, "process"); err != nil {
		return nil, err
	}
	return &Compiled{Program: c.p, Warnings: c.warnings}, nil
}
