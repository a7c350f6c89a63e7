package runtime

import (
	"path"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// enterCgroupNamespace makes the namespace whose root is the cgroup that the
// process is in by now.
func (c *compiler) enterCgroupNamespace() {
	if c.ns.cgroup {
		c.add(launch.Op{
			Call: launch.Unshare, Args: []launch.Arg{launch.Flags(unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP")},
			Text: "make the cgroup namespace", Field: "linux.namespaces",
		})
	}
}

// mountCgroup shows the container its own cgroups. On cgroup v1 they're
// several: a tmpfs with a directory for each hierarchy.
func (c *compiler) mountCgroup(m specs.Mount, o mountOptions, field string) {
	if !has(c.spec, specs.CgroupNamespace) {
		c.bindCgroup(m, o, field)
		return
	}
	if c.host.Cgroup2 || m.Type == "cgroup2" || len(c.host.Cgroup1) == 0 {
		m.Source = "cgroup"
		c.mountFilesystem(m, o, "cgroup2", o.data, field)
		return
	}
	hierarchy := o
	o.set &^= unix.MOUNT_ATTR_RDONLY // it has to take the directories first
	o.data = nil
	base := m
	base.Source = "tmpfs"
	c.mountFilesystem(base, o, "tmpfs", []string{"mode=755"}, field)
	for _, h := range c.host.Cgroup1 {
		sub := m
		sub.Source = "cgroup"
		sub.Destination = path.Join(m.Destination, h.Name)
		c.mountFilesystem(sub, hierarchy, "cgroup", strings.Split(h.Option, ","), field)
	}
	if hierarchy.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.remountReadonly(m.Destination, field)
	}
}

// bindCgroup shows a container without a cgroup namespace its own groups and
// nothing else of the host's.
func (c *compiler) bindCgroup(m specs.Mount, o mountOptions, field string) {
	bind := o
	bind.bind, bind.data = true, nil
	if dir, ok := c.host.Groups[""]; ok && c.host.Cgroup2 {
		c.bindGroup(dir, m.Destination, bind, field)
		return
	}
	o.set &^= unix.MOUNT_ATTR_RDONLY
	m.Source = "tmpfs"
	c.mountFilesystem(m, o, "tmpfs", []string{"mode=755"}, field)
	for _, h := range c.host.Cgroup1 {
		if dir, ok := c.host.Groups[h.Name]; ok {
			c.bindGroup(dir, path.Join(m.Destination, h.Name), bind, field)
		}
	}
	if bind.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.remountReadonly(m.Destination, field)
	}
}

func (c *compiler) bindGroup(dir, dest string, o mountOptions, field string) {
	tree := c.p.NewSlot()
	text := "bind the cgroup " + dir + " to " + dest
	c.add(launch.Op{
		Call:   launch.OpenTree,
		Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(dir), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLONE")},
		Result: tree, Text: text, Field: field,
	})
	c.attach(tree, c.ensure(dest, true, field+".destination"), o, text, field)
}

// remountReadonly makes the mount at a place of the container read-only.
func (c *compiler) remountReadonly(dest, field string) {
	fd := c.p.NewSlot()
	text := "make " + dest + " read-only"
	c.add(c.openIn(dest, unix.O_PATH, fd, text, field),
		setAttr(fd, unix.MOUNT_ATTR_RDONLY, 0, 0, false, text, field))
}
