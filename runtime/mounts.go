package runtime

import (
	"fmt"
	"strconv"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountAttrSize is the size of struct mount_attr.
const mountAttrSize = 32

func mountAttr(set, clear, propagation uint64) launch.Arg {
	return launch.Words(launch.Flags(set, attrNames(set)), launch.Flags(clear, attrNames(clear)), launch.Flags(propagation, propagationName(propagation)), launch.Int(0))
}

// setAttr changes the attributes of the mount behind a descriptor.
func setAttr(mount launch.Slot, set, clear, propagation uint64, recursive bool, text, field string) launch.Op {
	flags, name := uint64(unix.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if recursive {
		flags, name = flags|unix.AT_RECURSIVE, name+"|AT_RECURSIVE"
	}
	return launch.Op{
		Call: launch.MountSetattr,
		Args: []launch.Arg{launch.Result(mount), launch.String(""), launch.Flags(flags, name), mountAttr(set, clear, propagation), launch.Int(mountAttrSize)},
		Text: text, Field: field,
	}
}

// moveMount attaches a mount at the place that a descriptor names.
func moveMount(mount, target launch.Slot, text, field string) launch.Op {
	return launch.Op{
		Call: launch.MoveMount,
		Args: []launch.Arg{
			launch.Result(mount), launch.String(""), launch.Result(target), launch.String(""),
			launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "F_EMPTY_PATH|T_EMPTY_PATH"),
		},
		Text: text, Field: field,
	}
}

func (c *compiler) fsopen(kind, text, field string) launch.Slot {
	fs := c.p.NewSlot()
	c.add(launch.Op{
		Call: launch.Fsopen, Args: []launch.Arg{launch.String(kind), launch.Flags(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")},
		Result: fs, Text: text, Field: field,
	})
	return fs
}

// fsmount ends the configuration of a file system and returns its mount.
func (c *compiler) fsmount(fs launch.Slot, attrs uint64, text, field string) launch.Slot {
	mount := c.p.NewSlot()
	c.add(
		launch.Op{
			Call: launch.Fsconfig, Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_CMD_CREATE, "CMD_CREATE"), launch.Int(0), launch.Int(0), launch.Int(0)},
			Text: text, Field: field,
		},
		launch.Op{
			Call: launch.Fsmount, Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), launch.Flags(attrs, attrNames(attrs))},
			Result: mount, Text: text, Field: field,
		},
	)
	return mount
}

// mount compiles one entry of mounts.
func (c *compiler) mount(index int) error {
	m := c.spec.Mounts[index]
	field := fmt.Sprintf("mounts[%d]", index)
	o := parseMountOptions(m)
	switch {
	case o.bind:
		return c.bind(index, m, o, field)
	case o.idmap:
		return badField(field, "only bind mounts can be id-mapped")
	case m.Type == "cgroup" || m.Type == "cgroup2":
		c.mountCgroup(m, o, field)
		return nil
	case m.Type == "":
		return badField(field+".type", "is empty, and the options have no bind")
	}
	c.mountFilesystem(m, o, m.Type, c.filesystemData(m.Type, o.data), field)
	return nil
}

// bind compiles a bind mount: a copy of the source's mount, attached at the
// destination.
func (c *compiler) bind(index int, m specs.Mount, o mountOptions, field string) error {
	if m.Source == "" {
		return badField(field+".source", "is empty")
	}
	if o.idmap && !c.host.Privileged {
		if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
			return badField(field, "an id-mapped mount needs root on the host")
		}
		// Without root, the container's ids are the caller's own: a file's
		// owner inside is its owner outside as far as it can be.
	}
	if len(o.data) > 0 {
		c.warn(field+".options", "%q has no effect on a bind mount", o.data)
	}
	text := "bind " + m.Source + " to " + m.Destination
	tree, given := c.handover(index)
	if !given {
		tree = c.p.NewSlot()
		flags, name := uint64(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE"
		if o.recursive {
			flags, name = flags|unix.AT_RECURSIVE, name+"|AT_RECURSIVE"
		}
		c.add(launch.Op{
			Call:   launch.OpenTree,
			Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(m.Source), launch.Flags(flags, name)},
			Result: tree, Text: text, Field: field + ".source",
		})
	}
	target := c.ensure(m.Destination, c.host.IsFile == nil || !c.host.IsFile(m.Source), field+".destination")
	c.attach(tree, target, o, text, field)
	return nil
}

// attach sets the attributes that the options ask for and attaches the mount.
// Attributes come first, so the container never sees the mount without them.
func (c *compiler) attach(mount, target launch.Slot, o mountOptions, text, field string) {
	if o.recSet|o.recClear != 0 {
		c.add(setAttr(mount, o.recSet, o.recClear, 0, true, text+" (recursive options)", field+".options"))
	}
	if o.bind && o.set|o.clear != 0 {
		c.add(setAttr(mount, o.set, o.clear, 0, false, text+" (options)", field+".options"))
	}
	switch {
	case o.propagation != 0:
		c.add(setAttr(mount, 0, 0, o.propagation, o.recPropagation, text+" (propagation)", field+".options"))
	case o.bind:
		c.add(setAttr(mount, 0, 0, unix.MS_PRIVATE, true, text+" (private)", field+".options"))
	}
	c.add(moveMount(mount, target, text, field))
}

// mountFilesystem mounts a new file system at the destination.
func (c *compiler) mountFilesystem(m specs.Mount, o mountOptions, kind string, data []string, field string) {
	text := "mount " + kind + " on " + m.Destination
	fs := c.fsopen(kind, text, field+".type")
	source := m.Source
	if source == "" {
		source = kind
	}
	c.add(launch.Op{
		Call: launch.Fsconfig,
		Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String("source"), launch.String(source), launch.Int(0)},
		Text: text, Field: field + ".source",
	})
	for _, d := range data {
		key, value, has := strings.Cut(d, "=")
		op := launch.Op{
			Call: launch.Fsconfig,
			Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), launch.String(key), launch.Int(0), launch.Int(0)},
			Text: text + ": option " + strconv.Quote(d), Field: field + ".options",
		}
		if has {
			op.Args[1], op.Args[3] = launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String(value)
		}
		c.add(op)
	}
	mount := c.fsmount(fs, o.set, text, field)
	c.attach(mount, c.ensure(m.Destination, true, field+".destination"), o, text, field)
}

// filesystemData drops what can't work in a user namespace: a devpts whose
// group has no mapping.
func (c *compiler) filesystemData(kind string, data []string) []string {
	if kind != "devpts" || !fresh(c.spec, specs.UserNamespace) {
		return data
	}
	var kept []string
	for _, d := range data {
		if gid, found := strings.CutPrefix(d, "gid="); found {
			if n, err := strconv.ParseUint(gid, 10, 32); err == nil && !mapped(c.spec.Linux.GIDMappings, uint32(n)) {
				continue
			}
		}
		kept = append(kept, d)
	}
	return kept
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

func attrNames(flags uint64) string {
	if flags == 0 {
		return "0"
	}
	return flagNames(flags, []flagName{
		{unix.MOUNT_ATTR_RDONLY, "RDONLY"}, {unix.MOUNT_ATTR_NOSUID, "NOSUID"}, {unix.MOUNT_ATTR_NODEV, "NODEV"},
		{unix.MOUNT_ATTR_NOEXEC, "NOEXEC"}, {unix.MOUNT_ATTR_NOATIME, "NOATIME"}, {unix.MOUNT_ATTR_STRICTATIME, "STRICTATIME"},
		{unix.MOUNT_ATTR_NODIRATIME, "NODIRATIME"}, {unix.MOUNT_ATTR_NOSYMFOLLOW, "NOSYMFOLLOW"},
	})
}

func propagationName(flag uint64) string {
	switch flag {
	case unix.MS_SHARED:
		return "MS_SHARED"
	case unix.MS_SLAVE:
		return "MS_SLAVE"
	case unix.MS_PRIVATE:
		return "MS_PRIVATE"
	case unix.MS_UNBINDABLE:
		return "MS_UNBINDABLE"
	}
	return "0"
}
