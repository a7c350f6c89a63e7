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
	cc.handed = cc.await("wait for the mounts")
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
	c.root = c.p.NewSlot()
	c.add(launch.Op{
		Call: launch.Setns, Args: []launch.Arg{launch.Input(containerInput), launch.Int(flags)},
		Text: "join the container's namespaces",
	})
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
	p, err := launch.Start(cc.p, launch.Files{containerInput: pidfd}, nil)
	if err != nil {
		return err
	}
	if err := sendMounts(p, files); err != nil {
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

func unexpected(text string) error {
	if text == "" {
		return nil
	}
	return fmt.Errorf("the process announced %q, which nobody waits for", text)
}
