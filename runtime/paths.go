package runtime

import (
	"path"
	"strings"

	"loper.run/launch"

	"golang.org/x/sys/unix"
)

// Every path in the container is resolved by the kernel below the descriptor
// of its root: symbolic links and ".." stay inside, and /proc's magic links,
// which lead anywhere, are refused.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// openHow is struct open_how of openat2(2).
func openHow(flags, mode uint64, resolve uint64) launch.Arg {
	return launch.Words(
		launch.Flags(flags|unix.O_CLOEXEC, openFlags(flags)),
		launch.Int(mode),
		launch.Flags(resolve, resolveFlags(resolve)),
	)
}

const openHowSize = 24

// openIn opens a path of the container.
func (c *compiler) openIn(p string, flags uint64, to launch.Slot, text, field string) launch.Op {
	return launch.Op{
		Call:   launch.Openat2,
		Args:   []launch.Arg{launch.Result(c.root), launch.String(p), openHow(flags, 0, inRoot), launch.Int(openHowSize)},
		Result: to,
		Text:   text,
		Field:  field,
	}
}

// ensure opens the place of a mount in the container, as a directory or as a
// file, and makes what is missing of it. The slot holds an O_PATH descriptor.
//
// Three tries, the likeliest first: it is there; only its last part is missing;
// more is.
func (c *compiler) ensure(dest string, dir bool, field string) launch.Slot {
	target := c.p.NewSlot()
	clean := strings.TrimPrefix(path.Clean("/"+dest), "/")
	if clean == "" {
		clean = "."
	}
	flags := uint64(unix.O_PATH)
	if dir {
		flags |= unix.O_DIRECTORY
	}
	text := "find " + dest + " in the container"
	first := c.p.Add(c.openIn(clean, flags, target, text, field))
	parent := c.root
	if names := strings.Split(clean, "/"); len(names) > 1 {
		parent = c.ensureParents(names[:len(names)-1], "make "+dest+" in the container", field)
	}
	last := launch.Op{
		Call: launch.Mkdirat, Args: []launch.Arg{launch.Result(parent), launch.String(path.Base(clean)), launch.Int(0o755)},
		Text: "make " + dest + " in the container", Field: field, Accept: []launch.Accept{{Errno: unix.EEXIST}},
	}
	if !dir {
		last.Call = launch.Mknodat
		last.Args = []launch.Arg{launch.Result(parent), launch.String(path.Base(clean)), launch.Int(unix.S_IFREG | 0o644), launch.Int(0)}
	}
	c.add(last)
	end := c.p.Add(c.openIn(clean, flags, target, text, field))
	c.p.Ops[first].Skip = end - first
	c.p.Ops[first].Accept = []launch.Accept{{Errno: unix.ENOENT}}
	return target
}

// ensureParents opens a directory of the container after making it and those
// above it. Each is opened below the root again, so that a link is resolved
// inside.
func (c *compiler) ensureParents(names []string, text, field string) launch.Slot {
	to := c.p.NewSlot()
	whole := path.Join(names...)
	first := c.p.Add(c.openIn(whole, unix.O_PATH|unix.O_DIRECTORY, to, text, field))
	above := c.root
	for i, name := range names {
		c.add(launch.Op{
			Call: launch.Mkdirat, Args: []launch.Arg{launch.Result(above), launch.String(name), launch.Int(0o755)},
			Text: text, Field: field, Accept: []launch.Accept{{Errno: unix.EEXIST}},
		})
		next := to
		if i < len(names)-1 {
			next = c.p.NewSlot()
		}
		c.add(c.openIn(path.Join(names[:i+1]...), unix.O_PATH|unix.O_DIRECTORY, next, text, field))
		above = next
	}
	c.p.Ops[first].Skip = len(c.p.Ops) - 1 - first
	c.p.Ops[first].Accept = []launch.Accept{{Errno: unix.ENOENT}}
	return to
}

func openFlags(flags uint64) string {
	return flagNames(flags, []flagName{
		{unix.O_PATH, "O_PATH"}, {unix.O_DIRECTORY, "O_DIRECTORY"}, {unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_RDWR, "O_RDWR"}, {unix.O_WRONLY, "O_WRONLY"}, {unix.O_NOCTTY, "O_NOCTTY"},
	})
}

func resolveFlags(flags uint64) string {
	return flagNames(flags, []flagName{
		{unix.RESOLVE_IN_ROOT, "IN_ROOT"}, {unix.RESOLVE_NO_MAGICLINKS, "NO_MAGICLINKS"},
		{unix.RESOLVE_BENEATH, "BENEATH"}, {unix.RESOLVE_NO_SYMLINKS, "NO_SYMLINKS"},
	})
}

type flagName struct {
	bits uint64
	name string
}

// flagNames prints the flags that have names; the rest is printed as a number
// by the printer when nothing is known.
func flagNames(flags uint64, names []flagName) string {
	var known []string
	for _, n := range names {
		if flags&n.bits == n.bits {
			known = append(known, n.name)
		}
	}
	return strings.Join(known, "|")
}
