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

	parent, soFar := c.root, ""
	names := strings.Split(clean, "/")
	for i, name := range names {
		last := i == len(names)-1
		text := "make " + dest + " in the container"
		made := launch.Op{
			Call: launch.Mkdirat, Args: []launch.Arg{launch.Result(parent), launch.String(name), launch.Int(0o755)},
			Text: text, Field: field, Accept: []launch.Accept{{Errno: unix.EEXIST}},
		}
		if last && !dir {
			made.Call = launch.Mknodat
			made.Args = []launch.Arg{launch.Result(parent), launch.String(name), launch.Int(unix.S_IFREG | 0o644), launch.Int(0)}
		}
		c.add(made)
		soFar = path.Join(soFar, name)
		if !last {
			parent = c.p.NewSlot()
			c.add(c.openIn(soFar, unix.O_PATH|unix.O_DIRECTORY, parent, text, field))
		}
	}
	end := c.p.Add(c.openIn(clean, flags, target, text, field))
	c.p.Ops[first].Skip = end - first
	c.p.Ops[first].Accept = []launch.Accept{{Errno: unix.ENOENT}}
	return target
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
