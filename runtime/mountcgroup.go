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
func (c *compiler) mountCgroup(m specs.Mount, o mountOptions, field string) error {
	// A user namespace may mount the cgroups of a namespace that it owns. One
	// that is joined may be the host's.
	own := fresh(c.spec, specs.CgroupNamespace) || has(c.spec, specs.CgroupNamespace) && !has(c.spec, specs.UserNamespace)
	group, unified := c.host.Groups[""]
	switch {
	case own && (c.host.Cgroup2 || m.Type == "cgroup2" || len(c.host.Cgroup1) == 0):
		m.Source = "cgroup"
		c.mountFilesystem(m, o, "cgroup2", field)
		return nil
	case !own && c.running:
		return badField(field, "the cgroups of a container without a cgroup namespace can't be shown later")
	}
	o.data = nil
	if !own && unified && (c.host.Cgroup2 || m.Type == "cgroup2") {
		o.bind = true
		c.bindGroup(group, m.Destination, o, field)
		return nil
	}
	base := m
	base.Source = "tmpfs"
	top := o
	top.set &^= unix.MOUNT_ATTR_RDONLY // it has to take the directories first
	top.data = []string{"mode=755"}
	c.mountFilesystem(base, top, "tmpfs", field)
	tmpfs := c.mounted[len(c.mounted)-1].mount
	for _, h := range c.host.Cgroup1 {
		dest := path.Join(m.Destination, h.Name)
		if own {
			sub, options := m, o
			sub.Source, sub.Destination, options.data = "cgroup", dest, strings.Split(h.Option, ",")
			c.mountFilesystem(sub, options, "cgroup", field)
		} else if dir, ok := c.host.Groups[h.Name]; ok {
			bind := o
			bind.bind = true
			c.bindGroup(dir, dest, bind, field)
		}
		c.hierarchyLinks(tmpfs, h.Name, field)
	}
	if o.set&unix.MOUNT_ATTR_RDONLY != 0 {
		c.add(setAttr(tmpfs, unix.MOUNT_ATTR_RDONLY, 0, 0, false, "make "+m.Destination+" read-only", field))
	}
	return nil
}

// hierarchyLinks lets each controller of a hierarchy with several be found by
// its own name.
func (c *compiler) hierarchyLinks(tmpfs launch.Slot, hierarchy, field string) {
	names := strings.Split(hierarchy, ",")
	if len(names) == 1 {
		return
	}
	for _, name := range names {
		c.add(launch.Op{
			Call: launch.Symlinkat, Args: []launch.Arg{launch.String(hierarchy), launch.Result(tmpfs), launch.String(name)},
			Text: "link the cgroup controller " + name, Field: field,
		})
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
