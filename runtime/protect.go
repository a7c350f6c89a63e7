package runtime

import (
	"fmt"
	"strings"

	"loper.run/launch"

	"golang.org/x/sys/unix"
)

// protect compiles the read-only and the masked paths. All are opened below the root first and covered by descriptor. It
// comes before the pivot, while the host's /dev/null is still attached.
func (c *compiler) protect() {
	for i, p := range c.spec.Linux.ReadonlyPaths {
		c.readonlyPath(p, fmt.Sprintf("linux.readonlyPaths[%d]", i))
	}
	for i, p := range c.spec.Linux.MaskedPaths {
		c.maskPath(p, fmt.Sprintf("linux.maskedPaths[%d]", i))
	}
}

// readonlyRoot comes after the hooks, which may change the root file system.
func (c *compiler) readonlyRoot() {
	if c.spec.Root.Readonly {
		c.add(setAttr(c.root, unix.MOUNT_ATTR_RDONLY, 0, 0, false, "make the root file system read-only", "root.readonly"))
	}
}

// readonlyPath covers a path by a read-only copy of itself. A path that isn't
// there needs no cover.
func (c *compiler) readonlyPath(p, field string) {
	text := "make " + p + " read-only"
	at, tree := c.p.NewSlot(), c.p.NewSlot()
	open := c.openCovered(p, unix.O_PATH, at, text, field)
	open.Accept = []launch.Accept{{Errno: unix.ENOENT, Skip: 3}, {Errno: unix.ENOTDIR, Skip: 3}}
	c.add(
		open,
		launch.Op{
			Call: launch.OpenTree, Args: []launch.Arg{launch.Result(at), launch.String(""), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, "OPEN_TREE_CLONE|AT_EMPTY_PATH|AT_RECURSIVE")},
			Result: tree, Text: text, Field: field,
		},
		setAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, 0, true, text, field),
		moveMount(tree, at, text, field),
	)
}

// openCovered opens a path that is to be covered. What lies in the container's
// procfs or sysfs is found from the mount itself: whoever changes the root file
// system meanwhile can't put something else in its place.
func (c *compiler) openCovered(p string, flags uint64, to launch.Slot, text, field string) launch.Op {
	open := c.openIn(p, flags, to, text, field)
	var in placed
	for _, m := range c.mounted {
		if within(clean(p), m.dest) && len(m.dest) >= len(in.dest) {
			in = m
		}
	}
	if in.kind != "proc" && in.kind != "sysfs" {
		return open
	}
	open.Args[0] = launch.Result(in.mount)
	open.Args[1] = launch.String("." + strings.TrimPrefix(clean(p), in.dest))
	open.Args[2] = openHow(flags, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
	return open
}

// maskPath covers a file by /dev/null and a directory by an empty, read-only
// tmpfs.
func (c *compiler) maskPath(p, field string) {
	text := "mask " + p
	dir, file, tree := c.p.NewSlot(), c.p.NewSlot(), c.p.NewSlot()
	asDir := c.openCovered(p, unix.O_PATH|unix.O_DIRECTORY, dir, text, field)
	asFile := c.openCovered(p, unix.O_PATH, file, text, field)
	hideFile := []launch.Op{asFile, copyMount(c.null, tree, text, field), moveMount(tree, file, text, field)}
	hideFile[0].Accept = []launch.Accept{{Errno: unix.ENOTDIR, Skip: len(hideFile) - 1}} // a parent that is a file

	first := c.p.Add(asDir)
	before := len(c.p.Ops)
	fs := c.fsopen("tmpfs", text, field)
	c.add(launch.Op{
		Call: launch.Fsconfig, Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String("nr_inodes"), launch.String("1"), launch.Int(0)},
		Text: text, Field: field,
	})
	c.mountLabel(fs, "tmpfs", nil, text)
	mount := c.fsmount(fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, text, field)
	hide := moveMount(mount, dir, text, field)
	hide.Skip = len(hideFile)
	c.add(hide)
	dirOps := len(c.p.Ops) - before
	c.add(hideFile...)
	c.p.Ops[first].Accept = []launch.Accept{
		{Errno: unix.ENOENT, Skip: dirOps + len(hideFile)},
		{Errno: unix.EACCES, Skip: dirOps + len(hideFile)},
		{Errno: unix.ENOTDIR, Skip: dirOps},
	}
}
