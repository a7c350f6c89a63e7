package runtime

import (
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A copy of a shared mount of the host is shared with the host: what is mounted
// below the one appears below the other. It is what "shared" asks for, but only
// of the container's own mounts later. What the runtime mounts there, as masks
// and the next entries of mounts, is the container's alone. So such a copy is
// parted from the host like all others, and joins its peers at the end.

// sharedMount is a copy that joins the peers of another.
type sharedMount struct {
	mount, peer launch.Slot
	spreads     []spread // what comes after that
	text, field string
}

// propagate compiles the propagation of a mount.
func (c *compiler) propagate(mount launch.Slot, o mountOptions, text, field string) {
	text, field = text+" (propagation)", field+".options"
	flag := c.part(o)
	if o.bind && flag == 0 && !c.running {
		c.add(setAttr(mount, 0, 0, unix.MS_PRIVATE, true, text, field))
		return
	}
	if o.bind && flag != 0 {
		c.add(setAttr(mount, 0, 0, flag, true, text, field))
	}
	for i, p := range o.propagation {
		if i == 0 && o.bind && p.recursive && p.flag == flag {
			continue
		}
		c.add(setAttr(mount, 0, 0, p.flag, p.recursive, text, field))
	}
}

// part is what parts a copy, with all below it, from the host for good: it may
// receive at most. It is 0 for one that is to be shared, where the container's
// root is the host's.
func (c *compiler) part(o mountOptions) uint64 {
	root := propagation(c.spec.Linux.RootfsPropagation).flag
	var private, slave bool
	for _, p := range o.propagation {
		private = private || p.flag == unix.MS_PRIVATE || p.flag == unix.MS_UNBINDABLE
		slave = slave || p.flag == unix.MS_SLAVE
	}
	switch {
	case len(o.propagation) == 0 && (root == unix.MS_SLAVE || root == unix.MS_SHARED):
		return unix.MS_SLAVE
	case len(o.propagation) == 0, private:
		return unix.MS_PRIVATE
	case slave, has(c.spec, specs.UserNamespace):
		return unix.MS_SLAVE
	}
	return 0
}

// share remembers a copy, and the mounts below it, that will be shared with the
// source. Another copy stays with the peers until then.
func (c *compiler) share(source string, tree launch.Slot, o mountOptions, text, field string) {
	text, field = text+" (propagation)", field+".options"
	peers := c.p.NewSlot()
	c.openTree(source, o.recursive, peers, text, field)
	c.shared = append(c.shared, sharedMount{tree, peers, o.propagation, text, field})
	if !o.recursive || c.host.Below == nil {
		return
	}
	for _, name := range c.host.Below(source) {
		mount, peer := c.p.NewSlot(), c.p.NewSlot()
		for _, at := range [][2]launch.Slot{{tree, mount}, {peers, peer}} {
			c.add(launch.Op{
				Call:   launch.Openat2,
				Args:   []launch.Arg{launch.Result(at[0]), launch.String(name), openHow(unix.O_PATH, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS), launch.Int(openHowSize)},
				Result: at[1], Text: text + ": " + name, Field: field,
			})
		}
		c.shared = append(c.shared, sharedMount{mount: mount, peer: peer, text: text + ": " + name, field: field})
	}
}

// shareMounts lets them join their peers. A source that has none makes a group
// of its own.
func (c *compiler) shareMounts() {
	for _, s := range c.shared {
		op := moveMount(s.peer, s.mount, s.text, s.field)
		op.Args[4] = launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH|unix.MOVE_MOUNT_SET_GROUP, "F_EMPTY_PATH|T_EMPTY_PATH|SET_GROUP")
		op.Accept = []launch.Accept{{Errno: unix.EINVAL}}
		c.add(op)
	}
	for _, s := range c.shared {
		for _, p := range s.spreads {
			c.add(setAttr(s.mount, 0, 0, p.flag, p.recursive, s.text, s.field))
		}
	}
}
