package runtime

import (
	"fmt"

	"loper.run/launch"
	"loper.run/runtime/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Host is what a compile needs to know of the machine.
type Host struct {
	// Privileged tells that the caller may mount in the host's user
	// namespace. It then prepares the mounts of a container in a user
	// namespace, which has no right to reach their sources.
	Privileged bool
	// SetgroupsDenied tells that the user namespace may not change groups.
	SetgroupsDenied bool
	// IsFile tells whether the source of a bind mount is not a directory.
	IsFile func(path string) bool
	// Below lists what is mounted below a directory, by names that begin there;
	// nil: nothing.
	Below func(dir string) []string
	// IsDevice tells whether the host has that device at that path; nil: it has.
	IsDevice func(path string, kind, major, minor uint32) bool
	// OverlayByNames tells that the kernel wants the names of layers.
	OverlayByNames bool
	// CgroupTasks is how many 'tasks' files the process writes itself into.
	CgroupTasks int
	// RdtTasks is how many of resctrl's.
	RdtTasks int
	// CgroupByParent tells that its parent moves it into its groups.
	CgroupByParent bool
	// Cgroup1 lists the cgroup v1 hierarchies; empty on cgroup v2.
	Cgroup1 []Hierarchy
	// Cgroup2 tells that /sys/fs/cgroup is the unified hierarchy.
	Cgroup2 bool
	// Groups are the directories of the container's own cgroups, by the name
	// of their hierarchy; "" on cgroup v2.
	Groups map[string]string
	// Arch is the machine's GOARCH, for seccomp.
	Arch string
	// Files, when not 0, is the hard limit of open files of a caller that
	// raised its soft limit to it, as Go programs do at their start.
	Files uint64
	// Capabilities, when not 0, are all that the caller may give away.
	Capabilities uint64
	// AppArmor and SELinux tell that the kernel enforces them.
	AppArmor, SELinux bool
}

// Hierarchy is a cgroup v1 hierarchy: its directory below /sys/fs/cgroup and
// the option that selects it at mount.
type Hierarchy struct{ Name, Option string }

// Settings are the caller's wishes that config.json doesn't hold.
type Settings struct {
	// Overlay, when set, is the root file system instead of root.path.
	Overlay *Overlay
	// Gate makes the program wait before the container's execve until
	// somebody connects to the Input "gate".
	Gate bool
	// Recorded makes the program wait until its maker wrote down its process
	// id. (So does Gate.)
	Recorded bool
	// Bound makes the container die with the thread that started it.
	Bound bool
	// AskTerminal makes the program wait until its terminal, on its way to the
	// console socket, is as the caller wants it.
	AskTerminal bool
	// PreserveFDs is how many descriptors from 3 on the container inherits.
	PreserveFDs int
	// Network makes the program wait for its networks, which its maker makes.
	Network bool
	// Nested makes the new user namespace in the one of the Input "parent user
	// namespace".
	Nested bool
	// exec tells that the process joins a container that is there.
	exec bool
	// Shed makes the program run from the Input "own file", a read-only view of
	// this program's own.
	Shed bool
	// NoKeyring leaves the session keyring of the caller to the container.
	NoKeyring bool
	// NoPivot is as in Options.
	NoPivot bool
}

// Handover names a descriptor that the program gets from its parent while it
// runs, because it can only be made once the user namespace exists.
type Handover struct {
	// Mount is the index in the spec's mounts, or one of the following.
	Mount int
}

// Values of Handover.Mount.
const (
	handRoot    = -1 // the root file system
	handDevices = -2 // device nodes that the host doesn't have
)

// Compiled is a program and what must be handed to it.
type Compiled struct {
	Program   *launch.Program
	Handovers []Handover
	Warnings  []string
	gate      bool     // it stops before its execve
	nodes     []device // of the Handover of devices
}

// compiler is the state of one compile.
type compiler struct {
	p         *launch.Program
	spec      *specs.Spec
	host      Host
	set       Settings
	ns        namespaces
	handovers []Handover
	handed    []launch.Slot
	root      launch.Slot // the container's root directory
	hostRoot  launch.Slot // the host's, when its mounts were not parted from the host's at once
	null      launch.Slot // the host's /dev/null, if masks need it
	hooks     hookSlots
	dev       launch.Slot // the container's /dev
	mounted   []placed
	shared    []sharedMount
	nodes     devicePlan
	console   launch.Slot // the container's end of the terminal
	filter    seccomp.Filter
	warnings  []string
	running   bool // the container is there: its root is the process's, and the host's files are out of sight
}

func (c *compiler) add(ops ...launch.Op) { c.p.Add(ops...) }

// usualOps is more than most programs have; a longer one grows.
const usualOps = 640

// Compile turns config.json into the program of a new container. It reads
// nothing but its arguments.
func Compile(spec *specs.Spec, host Host, set Settings) (*Compiled, error) {
	c := &compiler{p: &launch.Program{Ops: make([]launch.Op, 0, usualOps)}, spec: spec, host: host, set: set, ns: planNamespaces(spec.Linux.Namespaces, host.Privileged, set.Nested)}
	process := spec.Process
	if process == nil {
		if !set.Gate {
			return nil, badField("process", "is missing")
		}
		process = &specs.Process{Cwd: "/"} // create makes the container, and start fails
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if !has(spec, specs.MountNamespace) {
		return nil, badField("linux.namespaces", "has no mount namespace; Loper doesn't run a container on the host's mounts")
	}
	if err := c.checkLinux(); err != nil {
		return nil, err
	}
	c.inVain(process, "process")
	c.p.Namespaces, c.p.Preserve = c.ns.born, set.PreserveFDs
	if err := c.planDevices(); err != nil {
		return nil, err
	}
	c.planHandovers()

	c.leaveLock()
	c.oomScore(process, !c.ns.user)
	c.joinCgroup()
	c.joinRdt()
	c.enterNamespaces()
	c.awaitCgroup()
	c.cpus(process, "process")
	c.add(quiet, launch.Op{Call: launch.Umask, Args: []launch.Arg{launch.Int(0)}, Text: "give files the modes that are asked for"})
	c.enterCgroupNamespace()
	c.stopPropagation()
	c.openNull()
	c.mountRoot()
	for i := range spec.Mounts {
		if err := c.mount(i); err != nil {
			return nil, err
		}
	}
	c.devices()
	c.terminal()
	c.ensure(process.Cwd, true, "process.cwd")
	if err := c.kernelSettings(); err != nil {
		return nil, err
	}
	c.loopback()
	c.protect()
	c.awaitNetwork()
	c.hooksBeforePivot()
	c.pivot()
	c.readonlyRoot()
	c.sharePropagation()
	if err := c.process(process, "process"); err != nil {
		return nil, err
	}
	return &Compiled{Program: c.p, Handovers: c.handovers, Warnings: c.warnings, gate: set.Gate, nodes: c.nodes.missing}, nil
}

// check compiles what can fail before the first operation is made.
func (c *compiler) check() error {
	filter, err := seccomp.Compile(c.spec.Linux.Seccomp, c.host.Arch)
	if err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	if err := checkNotify(c.spec.Linux.Seccomp); err != nil {
		return err
	}
	c.filter = filter
	c.warnings = append(c.warnings, filter.Warnings...)
	return nil
}

// lockInput names the lock of the state directory, which only the maker of the
// container may hold on to.
const lockInput = "lock"

// leaveLock lets go of the lock before anything can take long.
func (c *compiler) leaveLock() {
	c.add(launch.Op{Call: launch.Close, Args: []launch.Arg{launch.Input(lockInput)}, Text: "leave the state directory to the parent"})
}

// joinCgroup moves the process into the container's groups. It has one thread,
// so it can do so itself, without the kernel's global lock.
func (c *compiler) joinCgroup() {
	for i := range c.host.CgroupTasks {
		c.add(launch.Op{
			Call: launch.Write,
			Args: []launch.Arg{launch.Input(taskInput(i)), launch.String("0"), launch.Int(1)},
			Text: "join the cgroup", Field: "linux.cgroupsPath",
		})
	}
}

func taskInput(i int) string { return fmt.Sprintf("tasks %d", i) }
