package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// AddMounts mounts in a created, running or paused container what config.json
// could have asked for. The sources of bind mounts are the caller's; relative
// ones begin at the bundle. The first failure ends it; mounts made before it
// stay.
func (c *Container) AddMounts(mounts []specs.Mount) error {
	return c.changeMounts(mounts, func(cc *compiler) error {
		for i := range cc.spec.Mounts {
			if err := cc.mount(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveMounts takes away what is mounted at the destinations of the mounts,
// with all that is mounted below; nothing else of a mount matters. A
// destination is taken literally: through a symbolic link, the container could
// make it mean what hides something from it.
func (c *Container) RemoveMounts(mounts []specs.Mount) error {
	return c.changeMounts(mounts, func(cc *compiler) error {
		for i, m := range cc.spec.Mounts {
			cc.unmount(m.Destination, fmt.Sprintf("mounts[%d].destination", i))
		}
		return nil
	})
}

// changeMounts runs operations in the container's namespaces, as its root.
func (c *Container) changeMounts(mounts []specs.Mount, operations func(*compiler) error) error {
	whole, err := c.Spec()
	if err != nil {
		return err
	}
	if status := c.Status(); status == specs.StateStopped || status == specs.StateCreating {
		return fmt.Errorf("container %q is %s: it has no mounts", c.state.ID, status)
	}
	if len(mounts) == 0 {
		return nil
	}
	spec := *whole
	spec.Mounts = append([]specs.Mount(nil), mounts...)
	for i, m := range spec.Mounts {
		if err := validateMount(i, m); err != nil {
			return err
		}
		if isBind(m) && !filepath.IsAbs(m.Source) {
			spec.Mounts[i].Source = filepath.Join(c.state.Bundle, m.Source)
		}
	}
	host := lookAtHost(&spec, nil)
	m, err := c.Cgroup()
	if err != nil {
		return err
	}
	host.lookAtCgroups(&spec, m.Paths())
	cc := &compiler{p: &launch.Program{}, spec: &spec, host: host, running: true}
	for i, m := range spec.Mounts {
		if isBind(m) {
			cc.handovers = append(cc.handovers, Handover{Mount: i})
		}
	}
	cc.join()
	if err := operations(cc); err != nil {
		return err
	}
	cc.add(launch.Op{Call: launch.Ready, Text: "end"})
	return c.runAside(cc)
}

// join compiles the way into the container's namespaces.
func (c *compiler) join() {
	c.add(quiet)
	var flags uintptr
	for _, ns := range c.spec.Linux.Namespaces {
		flags |= namespaceFlag(ns.Type)
	}
	enter := func(flags uintptr) {
		if flags != 0 {
			c.add(launch.Op{
				Call: launch.Setns, Args: []launch.Arg{launch.Input(containerInput), launch.Int(flags)},
				Text: "join the container's namespaces",
			})
		}
	}
	if c.host.Privileged {
		c.handed = c.await("wait for the mounts")
	} else {
		// Only in a mount namespace of its own may it copy the host's mounts.
		enter(flags & unix.CLONE_NEWUSER)
		flags &^= unix.CLONE_NEWUSER
		c.add(launch.Op{Call: launch.Unshare, Args: []launch.Arg{launch.Flags(unix.CLONE_NEWNS, "CLONE_NEWNS")}, Text: "copy the host's mounts"})
		for _, h := range c.handovers {
			m, tree := c.spec.Mounts[h.Mount], c.p.NewSlot()
			c.openTree(m.Source, parseMountOptions(m).recursive, tree, "bind "+m.Source+" to "+m.Destination, fmt.Sprintf("mounts[%d].source", h.Mount))
			c.handed = append(c.handed, tree)
		}
	}
	enter(flags)
	c.root = c.p.NewSlot()
	if has(c.spec, specs.UserNamespace) {
		c.becomeRoot()
		c.add(quiet) // a change of user undoes it
	}
	if flags&unix.CLONE_NEWPID != 0 {
		// A procfs shows the pid namespace of the process that mounts it.
		c.add(launch.Op{Call: launch.Fork, Args: []launch.Arg{launch.Int(0)}, Text: "go on in the container's pid namespace"})
	}
	c.add(
		launch.Op{Call: launch.Umask, Args: []launch.Arg{launch.Int(0)}, Text: "give files the modes that are asked for"},
		launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY")},
			Result: c.root, Text: "open the container's root",
		})
}

// unmount compiles umount2, which knows no descriptors: its name is a single
// one in a directory that was opened.
func (c *compiler) unmount(dest, field string) {
	text := "unmount " + dest
	dir, name := path.Split(path.Clean("/" + dest))
	parent := c.p.NewSlot()
	c.add(
		launch.Op{
			Call:   launch.Openat2,
			Args:   []launch.Arg{launch.Result(c.root), launch.String(dir), openHow(unix.O_PATH|unix.O_DIRECTORY, 0, inRoot|unix.RESOLVE_NO_SYMLINKS), launch.Int(openHowSize)},
			Result: parent, Text: text, Field: field,
		},
		launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(parent)}, Text: text, Field: field},
		launch.Op{
			Call: launch.Umount2, Args: []launch.Arg{launch.String(name), launch.Flags(unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW, "MNT_DETACH|UMOUNT_NOFOLLOW")},
			Text: text, Field: field,
		},
	)
}

// runAside runs a program that ends by itself beside the container, and gives
// it the mounts that it waits for.
func (c *Container) runAside(cc *compiler) error {
	pidfd, err := c.Pidfd()
	if err != nil {
		return err
	}
	defer pidfd.Close()
	p, err := launch.Start(cc.p, launch.Files{containerInput: pidfd}, nil)
	if err != nil {
		return err
	}
	if cc.host.Privileged {
		err = c.handMounts(cc, p)
	}
	if err != nil {
		p.Abort()
		return err
	}
	if text, err := p.Next(); err != io.EOF {
		p.Abort()
		return errors.Join(err, unexpected(text))
	}
	p.Wait()
	p.Close()
	return nil
}

// handMounts gives a process the mounts that it can't make by itself.
func (c *Container) handMounts(cc *compiler, p *launch.Process) (err error) {
	var user *os.File
	if has(cc.spec, specs.UserNamespace) {
		if user, err = os.Open("/proc/" + strconv.Itoa(c.Pid()) + "/ns/user"); err != nil {
			return err
		}
		defer user.Close()
	}
	files, err := prepareMounts(cc.spec, Settings{}, cc.handovers, nil, user)
	if err != nil {
		return err
	}
	defer closeAll(files)
	return sendMounts(p, files)
}

func unexpected(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("the process announced %q, which nobody waits for", text)
}
