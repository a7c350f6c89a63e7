package runtime

import (
	"os"
	"slices"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cloneNewTime is CLONE_NEWTIME, which only unshare and clone3 take.
const cloneNewTime = unix.CLONE_NEWTIME

// namespaceTypes are the specification's, and the CLONE_ flags for them.
var namespaceTypes = [...]struct {
	name specs.LinuxNamespaceType
	flag uintptr
}{
	{specs.CgroupNamespace, unix.CLONE_NEWCGROUP}, {specs.IPCNamespace, unix.CLONE_NEWIPC}, {specs.MountNamespace, unix.CLONE_NEWNS},
	{specs.NetworkNamespace, unix.CLONE_NEWNET}, {specs.PIDNamespace, unix.CLONE_NEWPID}, {specs.TimeNamespace, cloneNewTime},
	{specs.UserNamespace, unix.CLONE_NEWUSER}, {specs.UTSNamespace, unix.CLONE_NEWUTS},
}

// namespaceFlag is 0 for a type that there isn't.
func namespaceFlag(t specs.LinuxNamespaceType) uintptr {
	for i := range namespaceTypes {
		if namespaceTypes[i].name == t {
			return namespaceTypes[i].flag
		}
	}
	return 0
}

// namespaces says how a process gets into the namespaces of a spec.
type namespaces struct {
	born   uintptr                // new ones that the clone makes
	later  uintptr                // new ones that the child makes by itself after it joined others
	joined []specs.LinuxNamespace // by path, in the order in which they're entered
	cgroup bool                   // a new cgroup namespace, made once the process is in its cgroup
	time   bool                   // a new time namespace: it takes effect for the next child
	forks  bool                   // a second child is needed for the pid or time namespace
	newPid bool
	user   bool // a new user namespace
	nested bool // it is made in another than the caller's
}

// planNamespaces decides the order. To join a namespace takes rights over the
// user namespace that owns it. Who is privileged on the host has them over all,
// and loses them in a user namespace, which therefore is joined last; to others
// it is the joined user namespace that gives them, so it comes first. A user
// namespace that is made comes after all that is joined, also after the one that
// it is to be nested in.
func planNamespaces(list []specs.LinuxNamespace, privileged, nested bool) namespaces {
	var n namespaces
	var fresh uintptr
	for _, ns := range list {
		switch {
		case ns.Path != "" && ns.Type == specs.UserNamespace:
			// sorted in below
		case ns.Path != "":
			n.joined = append(n.joined, ns)
			n.forks = n.forks || ns.Type == specs.PIDNamespace || ns.Type == specs.TimeNamespace
		case ns.Type == specs.CgroupNamespace:
			n.cgroup = true
		case ns.Type == specs.TimeNamespace:
			n.time, n.forks = true, true
		default:
			fresh |= namespaceFlag(ns.Type)
		}
	}
	if i := slices.IndexFunc(list, func(ns specs.LinuxNamespace) bool { return ns.Path != "" && ns.Type == specs.UserNamespace }); i >= 0 {
		at := 0
		if privileged {
			at = len(n.joined)
		}
		n.joined = slices.Insert(n.joined, at, list[i])
	}
	n.user = fresh&unix.CLONE_NEWUSER != 0
	n.newPid = fresh&unix.CLONE_NEWPID != 0
	n.nested = nested && n.user
	if len(n.joined) == 0 && !n.time && !n.nested {
		n.born = fresh
		return n
	}
	n.later = fresh &^ unix.CLONE_NEWPID
	n.forks = n.forks || n.newPid
	return n
}

// announced tells whether the parent, which has something to do with the new
// namespaces, has to be told that they are there: the clone didn't make them.
func (n namespaces) announced(network bool) bool {
	return (n.user || network) && n.later != 0 || n.time
}

// has tells whether a spec gives the container a namespace other than the
// caller's.
func has(spec *specs.Spec, t specs.LinuxNamespaceType) bool {
	if spec.Linux == nil {
		return false
	}
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == t {
			return true
		}
	}
	return false
}

// inUserNamespace tells whether the container has no rights over the host's
// devices: it is in a user namespace of its own, or in that of a caller who is
// root there alone.
func (c *compiler) inUserNamespace() bool {
	return has(c.spec, specs.UserNamespace) || !c.host.Privileged
}

// fresh tells whether a spec gives the container a new namespace.
func fresh(spec *specs.Spec, t specs.LinuxNamespaceType) bool {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == t {
			return ns.Path == ""
		}
	}
	return false
}

// Texts of the announcements that Create acts on.
const (
	announceUser    = "made a user namespace"
	announceCreated = "created"
)

// enterNamespaces joins what is joined, makes what couldn't be made at the
// clone, and takes over what the parent prepared in the user namespace.
func (c *compiler) enterNamespaces() {
	n := c.ns
	if n.nested {
		c.add(launch.Op{
			Call: launch.Setns, Args: []launch.Arg{launch.Input(userParentInput), launch.Flags(unix.CLONE_NEWUSER, "CLONE_NEWUSER")},
			Text: "join the user namespace that the container's is made in", Field: "linux.namespaces",
		})
	}
	for _, ns := range n.joined {
		c.add(launch.Op{
			Call:  launch.Setns,
			Args:  []launch.Arg{launch.Input(namespaceInput(ns.Type)), launch.Int(namespaceFlag(ns.Type))},
			Text:  "join the " + string(ns.Type) + " namespace " + ns.Path,
			Field: "linux.namespaces",
		})
	}
	if n.later != 0 {
		c.add(launch.Op{Call: launch.Unshare, Args: []launch.Arg{launch.Int(n.later)}, Text: "make the namespaces", Field: "linux.namespaces"})
	}
	if n.time {
		c.add(launch.Op{Call: launch.Unshare, Args: []launch.Arg{launch.Int(cloneNewTime)}, Text: "make the time namespace", Field: "linux.namespaces"})
	}
	devices := len(c.spec.Linux.NetDevices) > 0
	if n.announced(devices || c.set.Network) {
		c.add(launch.Op{Call: launch.Announce, Text: announceUser})
	}
	switch {
	case n.user || n.time:
		c.handed = c.await("wait for the id mappings")
	case devices:
		c.handed = c.await("wait for the network devices")
	case len(c.handovers) > 0:
		c.handed = c.await("wait for the mounts")
	}
	if has(c.spec, specs.UserNamespace) {
		c.becomeRoot()
	}
	c.shed()
	if n.forks {
		flags := uintptr(0)
		if n.newPid {
			flags = unix.CLONE_NEWPID
		}
		c.add(launch.Op{Call: launch.Fork, Args: []launch.Arg{launch.Int(flags)}, Text: "go on in the pid namespace"})
	}
}

// becomeRoot takes the ids of the user namespace's root, which owns what it
// makes from here on.
func (c *compiler) becomeRoot() {
	if !c.host.SetgroupsDenied {
		c.add(launch.Op{Call: launch.Setgroups, Args: []launch.Arg{launch.Int(0), launch.Int(0)}, Text: "drop the additional groups"})
	}
	c.add(
		launch.Op{Call: launch.Setresgid, Args: []launch.Arg{launch.Int(0), launch.Int(0), launch.Int(0)}, Text: "become group 0 of the user namespace", Field: "linux.gidMappings"},
		launch.Op{Call: launch.Setresuid, Args: []launch.Arg{launch.Int(0), launch.Int(0), launch.Int(0)}, Text: "become user 0 of the user namespace", Field: "linux.uidMappings"},
	)
}

// openNamespace opens a namespace and makes sure that it is one, of that type.
// At the path may be anything, which is not waited for.
func openNamespace(ns specs.LinuxNamespace) (*os.File, error) {
	f, err := os.OpenFile(ns.Path, unix.O_NONBLOCK|unix.O_NOCTTY, 0)
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

// changesHost refuses settings for a joined namespace that is the caller's own.
func changesHost(spec *specs.Spec, t specs.LinuxNamespaceType, joined *os.File) error {
	var own, other unix.Stat_t
	if unix.Stat("/proc/self/ns/"+namespaceFile(t), &own) != nil || unix.Fstat(int(joined.Fd()), &other) != nil || own.Ino != other.Ino {
		return nil
	}
	if t == specs.MountNamespace {
		return badField("linux.namespaces", "would change the host, whose mount namespace is joined")
	}
	if t == specs.UTSNamespace && spec.Hostname+spec.Domainname != "" {
		field := "hostname"
		if spec.Hostname == "" {
			field = "domainname"
		}
		return badField(field, "would rename the host, whose uts namespace is joined")
	}
	for name := range spec.Linux.Sysctl {
		if sysctlNamespace(sysctlPath(name)) == t {
			return badField("linux.sysctl."+name, "would change the host, whose %s namespace is joined", t)
		}
	}
	return nil
}

// namespaceFile is the name of a namespace in /proc/PID/ns.
func namespaceFile(t specs.LinuxNamespaceType) string {
	switch t {
	case specs.MountNamespace:
		return "mnt"
	case specs.NetworkNamespace:
		return "net"
	}
	return string(t)
}

// userParentInput names the user namespace that the container's is made in.
const userParentInput = "parent user namespace"

func namespaceInput(t specs.LinuxNamespaceType) string { return "namespace " + string(t) }
