package runtime

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"loper.run/internal/fdpass"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// overlay mounts layers from inside the user namespace, without id mapping:
// the layers of an ordinary user already have the ids of the namespace.
func (c *compiler) overlay(o *Overlay) launch.Slot {
	made := c.p.NewSlot()
	user := has(c.spec, specs.UserNamespace)
	if c.host.OverlayByNames {
		c.overlayByNames(o, nil, user, made)
		return made
	}
	first := len(c.p.Ops)
	fs := c.overlayContext(o, user, func(fs launch.Slot) {
		for i := len(o.Lower) - 1; i >= 0; i-- {
			c.overlayOption(fs, "lowerdir+", o.Lower[i])
		}
	})
	c.overlayMount(fs, made)
	last := len(c.p.Ops) - 1
	// A kernel that takes no layer at a time says so with EINVAL, at any step.
	c.overlayByNames(o, nil, user, made)
	end := len(c.p.Ops) - 1
	for i := first; i < last; i++ {
		c.p.Ops[i].Accept = append(c.p.Ops[i].Accept, launch.Accept{Errno: unix.EINVAL, Skip: last - i})
	}
	c.p.Ops[last].Skip = end - last
	return made
}

// overlayByNames mounts layers by names: each is attached below a tmpfs over
// the root, which is the working directory meanwhile, since all names together
// have room for 255 bytes. layers are their mounts; nil: copies are made here.
func (c *compiler) overlayByNames(o *Overlay, layers []launch.Slot, user bool, made launch.Slot) {
	const text = "give the layers names"
	place := c.fsmount(c.fsopen("tmpfs", text, ""), 0, text, "")
	c.add(
		launch.Op{
			Call: launch.MoveMount,
			Args: []launch.Arg{launch.Result(place), launch.String(""), launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")},
			Text: text,
		},
		launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(place)}, Text: text},
	)
	names := make([]string, len(o.Lower))
	for i, dir := range o.Lower {
		name := strconv.FormatInt(int64(i), 36)
		names[len(names)-1-i] = name // overlayfs wants the highest first
		var layer launch.Slot
		if layers != nil {
			layer = layers[i]
		} else {
			layer = c.p.NewSlot()
			c.add(launch.Op{
				Call:   launch.OpenTree,
				Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(dir), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLONE")},
				Result: layer, Text: "open the layer " + dir,
			})
		}
		at := c.p.NewSlot()
		c.add(
			launch.Op{Call: launch.Mkdirat, Args: []launch.Arg{launch.Result(place), launch.String(name), launch.Int(0o700)}, Text: text},
			launch.Op{
				Call:   launch.Openat2,
				Args:   []launch.Arg{launch.Result(place), launch.String(name), openHow(unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_BENEATH), launch.Int(openHowSize)},
				Result: at, Text: text,
			},
			moveMount(layer, at, text, ""),
		)
	}
	fs := c.overlayContext(o, user, func(fs launch.Slot) { c.overlayOption(fs, "lowerdir", strings.Join(names, ":")) })
	c.overlayMount(fs, made)
	c.add( // the overlay has copies of the layers' mounts
		launch.Op{Call: launch.Umount2, Args: []launch.Arg{launch.String("."), launch.Flags(unix.MNT_DETACH, "MNT_DETACH")}, Text: "take the names of the layers away"},
		launch.Op{Call: launch.Chdir, Args: []launch.Arg{launch.String("/")}, Text: "go back to the root"},
	)
}

// overlayContext opens a configuration and sets everything but what is special
// to the layers, which lower does.
func (c *compiler) overlayContext(o *Overlay, user bool, lower func(fs launch.Slot)) launch.Slot {
	fs := c.fsopen("overlay", "make the overlay of the layers", "")
	c.overlayOption(fs, "source", "overlay")
	lower(fs)
	flag := func(name string) {
		c.add(launch.Op{
			Call: launch.Fsconfig,
			Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), launch.String(name), launch.Int(0), launch.Int(0)},
			Text: "overlay " + name,
		})
	}
	if o.Upper != "" {
		c.overlayOption(fs, "upperdir", o.Upper)
		c.overlayOption(fs, "workdir", o.Work)
		if o.Volatile {
			flag("volatile")
		}
	}
	if user {
		flag("userxattr")
	}
	return fs
}

func (c *compiler) overlayOption(fs launch.Slot, key, value string) {
	c.add(launch.Op{
		Call: launch.Fsconfig,
		Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String(key), launch.String(value), launch.Int(0)},
		Text: "overlay " + key + "=" + value,
	})
}

// overlayMount ends a configuration; the mount's slot is given, since two ways
// may lead to it.
func (c *compiler) overlayMount(fs, made launch.Slot) {
	c.fsmount(fs, 0, "make the overlay of the layers", "")
	c.p.Ops[len(c.p.Ops)-1].Result = made
}

// mountOverlayByNames mounts an overlay for a container from a process in a
// mount namespace of its own, in which the layers have names.
func mountOverlayByNames(o *Overlay, user *os.File) (*os.File, error) {
	if len(o.Lower) > launch.MaxFiles {
		return nil, fmt.Errorf("overlay: %d layers are more than %d", len(o.Lower), launch.MaxFiles)
	}
	var layers []*os.File
	defer func() { closeAll(layers) }()
	for _, dir := range o.Lower {
		layer, err := openTree(dir, 0)
		if err != nil {
			return nil, fmt.Errorf("open a layer: %w", err)
		}
		layers = append(layers, layer)
		if user != nil {
			if err := mapIDs(layer, user, false); err != nil {
				return nil, err
			}
		}
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "overlay"), os.NewFile(uintptr(pair[1]), "overlay")
	defer ours.Close()
	defer theirs.Close()

	const result, done = "result", "made the overlay"
	c := &compiler{p: &launch.Program{Namespaces: unix.CLONE_NEWNS}, spec: &specs.Spec{Linux: &specs.Linux{}}}
	slots := c.p.Await("wait for the layers", len(layers))
	c.stopPropagation()
	made := c.p.NewSlot()
	c.overlayByNames(o, slots, false, made)
	c.add(launch.SendFile(launch.Input(result), made, "overlay", "hand the overlay over", ""), launch.Op{Call: launch.Announce, Text: done})
	p, err := launch.Start(c.p, launch.Files{result: theirs}, nil)
	if err != nil {
		return nil, err
	}
	defer p.Abort()
	if err := p.Send(layers...); err != nil {
		return nil, err
	}
	if _, err := p.Next(); err != nil {
		return nil, err
	}
	fd, err := fdpass.Receive(int(ours.Fd()))
	if err != nil {
		return nil, fmt.Errorf("receive the overlay: %w", err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}
