package runtime

import (
	"fmt"
	"os"
	"path/filepath"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
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
	// Terminal, when set, is called once the master is on its way to
	// ConsoleSocket, and before the program runs.
	Terminal func() error
	// Network, when set, connects the container's network namespace. It is called
	// once that exists, from another goroutine than the caller's; nothing of the
	// container runs before it has returned, and nothing ever if it fails.
	Network func(namespace *os.File) error
	// UserParent, when set, is a user namespace of the caller's with the mappings
	// of the spec; the container's new one is made in it. Who is root there has
	// rights over the container's network too.
	UserParent *os.File
	// Detached lets the container outlive the caller. Otherwise it dies with
	// the calling thread, which the calling goroutine then keeps.
	Detached bool
	// PreserveFDs is how many descriptors from 3 on the container inherits.
	PreserveFDs int
	// NoKeyring keeps the caller's session keyring.
	NoKeyring bool
	// SystemdCgroup lets systemd make the cgroups; linux.cgroupsPath is then
	// slice:prefix:name. NoCgroup leaves the container in the caller's own.
	SystemdCgroup, NoCgroup bool
	// Rootless tells whether to do without cgroups that can't be made when no
	// limit is asked for, and with the user's own systemd; nil: if the caller
	// has no rights over the machine.
	Rootless *bool
	// NoPivot changes to the root file system with chroot(2), for a host whose
	// root is a ramdisk. The host's root stays beneath the container's.
	NoPivot bool
	// Notify mounts a directory at /run/notify and names a socket in it, which
	// who starts the container makes, in NOTIFY_SOCKET (sd_notify(3)).
	Notify bool
	// Trace, when set, is told what is done, a line each.
	Trace func(string)
	// Before, when set, is called just before the new process is made, which its
	// error keeps from being made.
	Before func() error
	// Config is the text of config.json, kept for exec when the bundle may
	// change; nil: the bundle's file is read again.
	Config []byte
}

// traceProgram tells what the new process is about to do.
func traceProgram(trace func(string), p *launch.Program) {
	if trace == nil {
		return
	}
	for i, op := range p.Ops {
		trace(fmt.Sprintf("operation %d: %s: %s", i, op.Call.Name, op.Text))
	}
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
	host := lookAtHost(spec, spec.Process)
	host.lookAtCgroups(spec, nil)
	compiled, err := Compile(spec, host, o.settings(false))
	if err != nil {
		return nil, err
	}
	return compiled.Program, nil
}

func (o *Options) settings(gate bool) Settings {
	return Settings{Overlay: o.Overlay, Gate: gate, Recorded: o.Detached, AskTerminal: o.Terminal != nil, Network: o.Network != nil, Nested: o.UserParent != nil, Bound: !o.Detached, PreserveFDs: o.PreserveFDs, NoKeyring: o.NoKeyring, NoPivot: o.NoPivot}
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
