package runtime

import (
	"strconv"
	"strings"

	"loper.run/launch"

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

// fsconfig sets an option of a file system that is being made.
func (c *compiler) fsconfig(fs launch.Slot, key, value, text, field string) {
	c.add(launch.Op{
		Call: launch.Fsconfig,
		Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String(key), launch.String(value), launch.Int(0)},
		Text: text, Field: field,
	})
}

// filesystemOptions sets what of a mount's options is the file system's. Flags
// that it doesn't have are no mistake: mount(2) ignores them too.
func (c *compiler) filesystemOptions(fs launch.Slot, o mountOptions, text, field string) {
	flag := func(name string) launch.Op {
		return launch.Op{
			Call: launch.Fsconfig,
			Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), launch.String(name), launch.Int(0), launch.Int(0)},
			Text: text + ": option " + strconv.Quote(name), Field: field,
		}
	}
	for _, name := range o.super {
		op := flag(name)
		op.Accept = []launch.Accept{{Errno: unix.EINVAL}}
		c.add(op)
	}
	for _, d := range o.data {
		if key, value, has := strings.Cut(d, "="); has {
			c.fsconfig(fs, key, value, text+": option "+strconv.Quote(d), field)
		} else {
			c.add(flag(d))
		}
	}
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
