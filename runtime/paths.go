package runtime

import (
	"path"
	"strconv"
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
	if dir {
		return c.place(dest, unix.S_IFDIR|0o755, false, field)
	}
	return c.place(dest, unix.S_IFREG|0o644, false, field)
}

// place does the same for a kind of file with a mode. On the way to a strict
// place there may be no links.
func (c *compiler) place(dest string, kind uint32, strict bool, field string) launch.Slot {
	target := c.p.NewSlot()
	links := launch.Flags(0, "links")
	if strict {
		links = launch.Flags(1, "no links")
	}
	c.add(launch.Op{
		Call:   launch.Place,
		Args:   []launch.Arg{launch.Result(c.root), launch.String(clean(dest)), launch.Flags(kind, "0o"+strconv.FormatUint(uint64(kind), 8)), links},
		Result: target, Text: "find " + dest + " in the container", Field: field,
	})
	return target
}

// clean is a path from the root.
func clean(dest string) string { return path.Clean("/" + dest) }

func openFlags(flags uint64) string {
	return flagNames(flags, []flagName{
		{unix.O_PATH, "O_PATH"}, {unix.O_DIRECTORY, "O_DIRECTORY"}, {unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_RDWR, "O_RDWR"}, {unix.O_WRONLY, "O_WRONLY"}, {unix.O_NOCTTY, "O_NOCTTY"},
	})
}

func resolveFlags(flags uint64) string {
	return flagNames(flags, []flagName{
		{unix.RESOLVE_IN_ROOT, "IN_ROOT"}, {unix.RESOLVE_NO_MAGICLINKS, "NO_MAGICLINKS"},
		{unix.RESOLVE_BENEATH, "BENEATH"}, {unix.RESOLVE_NO_SYMLINKS, "NO_SYMLINKS"}, {unix.RESOLVE_NO_XDEV, "NO_XDEV"},
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
