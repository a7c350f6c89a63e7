package runtime

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// placed is what was mounted in the container.
type placed struct {
	dest  string // clean
	kind  string
	mount launch.Slot
}

// mount compiles one entry of mounts.
func (c *compiler) mount(index int) error {
	m := c.spec.Mounts[index]
	field := fmt.Sprintf("mounts[%d]", index)
	o := parseMountOptions(m)
	if o.copyUp && (o.bind || m.Type != "tmpfs") {
		c.warn(field+".options", "tmpcopyup has an effect on a tmpfs only")
	}
	switch {
	case o.remount:
		return c.remount(m, o, field)
	case o.bind:
		return c.bind(index, m, o, field)
	case o.idmap:
		return badField(field, "only bind mounts can be id-mapped")
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return c.mountCgroup(m, o, field)
	case m.Type == "":
		return badField(field+".type", "is empty, and the options have no bind")
	}
	o.data = c.filesystemData(m.Type, o.data)
	c.mountFilesystem(m, o, m.Type, field)
	return nil
}

// bind compiles a bind mount: a copy of the source's mount, attached at the
// destination.
func (c *compiler) bind(index int, m specs.Mount, o mountOptions, field string) error {
	if m.Source == "" {
		return badField(field+".source", "is empty")
	}
	if o.idmap && !c.host.Privileged && len(m.UIDMappings) > 0 {
		// Without mappings of its own it is fine: the container's ids are the
		// caller's, and a file's owner inside is its owner outside as far as it
		// can be.
		return badField(field, "an id-mapped mount needs root on the host")
	}
	if len(o.data) > 0 {
		c.warn(field+".options", "%q has no effect on a bind mount", o.data)
	}
	text := "bind " + m.Source + " to " + m.Destination
	tree, given := c.handover(index)
	if !given {
		tree = c.p.NewSlot()
		c.openTree(m.Source, o.recursive, tree, text, field+".source")
	}
	target := c.ensure(m.Destination, c.host.IsFile == nil || !c.host.IsFile(m.Source), field+".destination")
	c.attach(tree, target, o, text, field)
	c.mounted = append(c.mounted, placed{clean(m.Destination), "bind", tree})
	if o.propagation != nil && c.part(o) == 0 && !c.running {
		c.share(m.Source, tree, o, text, field)
	}
	return nil
}

// openTree copies a mount of the host.
func (c *compiler) openTree(source string, recursive bool, to launch.Slot, text, field string) {
	flags, name := uint64(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE"
	if recursive {
		flags, name = flags|unix.AT_RECURSIVE, name+"|AT_RECURSIVE"
	}
	c.add(launch.Op{
		Call:   launch.OpenTree,
		Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(source), launch.Flags(flags, name)},
		Result: to, Text: text, Field: field,
	})
}

// attach sets the attributes that the options ask for and attaches the mount.
// Attributes come first, so the container never sees the mount without them.
func (c *compiler) attach(mount, target launch.Slot, o mountOptions, text, field string) {
	c.setAttributes(mount, o, o.bind, text, field)
	c.propagate(mount, o, text, field)
	c.add(moveMount(mount, target, text, field))
}

// setAttributes changes what the options name and nothing else: what the host
// restricts stays restricted. A user namespace may not undo it.
func (c *compiler) setAttributes(mount launch.Slot, o mountOptions, own bool, text, field string) {
	if own && o.set|o.clear != 0 {
		c.add(setAttr(mount, o.set, o.clear, 0, false, text+" (options)", field+".options"))
	}
	if o.recSet|o.recClear != 0 {
		c.add(setAttr(mount, o.recSet, o.recClear, 0, true, text+" (recursive options)", field+".options"))
	}
}

// hostCopies are the host's own mounts of file systems that a user namespace
// may only mount anew together with a namespace of the kind that they show.
var hostCopies = []struct {
	kind, path string
	shows      specs.LinuxNamespaceType
}{
	{"proc", "/proc", specs.PIDNamespace},
	{"sysfs", "/sys", specs.NetworkNamespace},
	{"mqueue", "/dev/mqueue", specs.IPCNamespace},
}

// mountFilesystem mounts a new file system at the destination.
func (c *compiler) mountFilesystem(m specs.Mount, o mountOptions, kind, field string) {
	text := "mount " + kind + " on " + m.Destination
	// A procfs or a sysfs behind a link could be moved away from the paths
	// below it that are to be masked.
	strict := kind == "proc" || kind == "sysfs"
	mode, given := uint32(0o755), true
	if kind == "tmpfs" {
		if given = slices.ContainsFunc(o.data, func(d string) bool { return strings.HasPrefix(d, "mode=") }); !given {
			mode = 0o1777
		}
	}
	target := c.place(m.Destination, unix.S_IFDIR|mode, strict, field+".destination")
	late := kind == "tmpfs" && (!given || o.copyUp)
	attrs := o.set
	if late {
		attrs &^= unix.MOUNT_ATTR_RDONLY
	}
	first := len(c.p.Ops)
	fs := c.fsopen(kind, text, field+".type")
	source := m.Source
	if source == "" {
		source = kind
	}
	c.fsconfig(fs, "source", source, text, field+".source")
	c.filesystemOptions(fs, o, text, field+".options")
	c.mountLabel(fs, kind, o.data, text)
	mount := c.fsmount(fs, attrs, text, field)
	c.labelQueue(kind, mount)
	for _, h := range hostCopies {
		if h.kind == kind && c.inUserNamespace() && !fresh(c.spec, h.shows) && !c.running {
			c.insteadCopy(first, mount, h.path, o, text, field)
		}
	}
	if late {
		c.fill(mount, target, o, given, text, field)
		if o.set&unix.MOUNT_ATTR_RDONLY != 0 {
			c.add(setAttr(mount, unix.MOUNT_ATTR_RDONLY, 0, 0, false, text, field))
		}
	}
	c.attach(mount, target, o, text, field)
	c.mounted = append(c.mounted, placed{clean(m.Destination), kind, mount})
}

// insteadCopy lets the operations since first, which make a mount, be refused:
// then the host's own mount is copied, with all below it, as a user namespace
// has to.
func (c *compiler) insteadCopy(first int, mount launch.Slot, host string, o mountOptions, text, field string) {
	last := len(c.p.Ops) - 1
	text += " (a copy of the host's)"
	c.openTree(host, true, mount, text, field)
	if o.set != 0 {
		c.add(setAttr(mount, o.set, o.clear, 0, true, text, field+".options"))
	}
	c.add(setAttr(mount, 0, 0, unix.MS_SLAVE, true, text, field))
	for i := first; i <= last; i++ {
		c.p.Ops[i].Accept = append(c.p.Ops[i].Accept, launch.Accept{Errno: unix.EPERM, Skip: last - i})
	}
	c.p.Ops[last].Skip = len(c.p.Ops) - 1 - last
}

// fill gives a tmpfs what its place has: the mode, unless an option says
// otherwise, and for tmpcopyup all else.
func (c *compiler) fill(mount, target launch.Slot, o mountOptions, modeGiven bool, text, field string) {
	if o.copyUp {
		c.add(launch.Op{Call: launch.CopyTree, Args: []launch.Arg{launch.Result(target), launch.Result(mount)}, Text: text + " (tmpcopyup)", Field: field + ".options"})
	}
	if !modeGiven {
		stat, mode := c.p.NewBuffer(), c.p.NewSlot()
		c.add(
			launch.Op{
				Call: launch.Statx, Args: []launch.Arg{launch.Result(target), launch.String(""), launch.Flags(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"), launch.Int(unix.STATX_BASIC_STATS), stat},
				Text: text, Field: field,
			},
			launch.Op{Call: launch.Load, Args: []launch.Arg{stat, launch.Int(28)}, Result: mode, Text: text}, // stx_mode, and 16 bits of nothing
			launch.Op{Call: launch.Fchmodat, Args: []launch.Arg{launch.Result(mount), launch.String("."), launch.Result(mode)}, Text: text, Field: field},
		)
		return
	}
	for _, d := range o.data { // the copy changed it
		text := text + ": option " + strconv.Quote(d)
		key, value, _ := strings.Cut(d, "=")
		switch n, err := strconv.ParseUint(value, 0, 32); {
		case key == "mode":
			if n, err := strconv.ParseUint(value, 8, 32); err == nil {
				c.add(launch.Op{Call: launch.Fchmodat, Args: []launch.Arg{launch.Result(mount), launch.String("."), launch.Int(n)}, Text: text, Field: field + ".options"})
			}
		case err == nil && key == "uid":
			c.add(c.chown(mount, ".", int64(n), -1, text, field+".options"))
		case err == nil && key == "gid":
			c.add(c.chown(mount, ".", -1, int64(n), text, field+".options"))
		}
	}
}

func (c *compiler) chown(dir launch.Slot, name string, uid, gid int64, text, field string) launch.Op {
	return launch.Op{
		Call: launch.Fchownat, Args: []launch.Arg{launch.Result(dir), launch.String(name), launch.Int(uid), launch.Int(gid), launch.Flags(unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW")},
		Text: text, Field: field,
	}
}

// remount changes a mount that is there.
func (c *compiler) remount(m specs.Mount, o mountOptions, field string) error {
	text := "remount " + m.Destination
	i := slices.IndexFunc(c.mounted, func(p placed) bool { return p.dest == clean(m.Destination) && p.kind != "bind" })
	if !o.bind && len(o.data)+len(o.super) > 0 {
		if i < 0 {
			return badField(field, "only a file system that was mounted for the container can take %q", append(o.super, o.data...))
		}
		fs := c.p.NewSlot()
		c.add(launch.Op{
			Call: launch.Fspick, Args: []launch.Arg{launch.Result(c.mounted[i].mount), launch.String(""), launch.Flags(unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH, "FSPICK_CLOEXEC|FSPICK_EMPTY_PATH")},
			Result: fs, Text: text, Field: field,
		})
		c.filesystemOptions(fs, o, text, field+".options")
		c.add(launch.Op{
			Call: launch.Fsconfig, Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_CMD_RECONFIGURE, "CMD_RECONFIGURE"), launch.Int(0), launch.Int(0), launch.Int(0)},
			Text: text, Field: field + ".options",
		})
	}
	at := c.p.NewSlot()
	c.add(c.openIn(path.Clean("/"+m.Destination), unix.O_PATH, at, text, field+".destination"))
	c.setAttributes(at, o, true, text, field)
	for _, p := range o.propagation {
		c.add(setAttr(at, 0, 0, p.flag, p.recursive, text+" (propagation)", field+".options"))
	}
	return nil
}

// filesystemData drops what can't work in a user namespace: a devpts whose
// group has no mapping.
func (c *compiler) filesystemData(kind string, data []string) []string {
	if kind != "devpts" || !fresh(c.spec, specs.UserNamespace) {
		return data
	}
	return slices.DeleteFunc(data, func(d string) bool {
		gid, found := strings.CutPrefix(d, "gid=")
		n, err := strconv.ParseUint(gid, 10, 32)
		return found && err == nil && !mapped(c.spec.Linux.GIDMappings, uint32(n))
	})
}

// mapped tells whether an id exists in a user namespace.
func mapped(mappings []specs.LinuxIDMapping, id uint32) bool {
	_, ok := hostID(mappings, id)
	return ok
}

// hostID translates an id of the container to the parent user namespace's.
func hostID(mappings []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range mappings {
		if id >= m.ContainerID && uint64(id) < uint64(m.ContainerID)+uint64(m.Size) {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}
