package runtime

import (
	"errors"
	"io"
	"os"
	"slices"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Overlay is a root file system made of layers. It is mounted only in the
// container's mount namespace and is gone with it.
type Overlay struct {
	// Lower are the read-only layers, the lowest first.
	Lower []string `json:"lower"`
	// Upper takes the container's changes; Work is overlayfs's own directory
	// beside it. Both empty: the root is read-only.
	Upper string `json:"upper,omitempty"`
	Work  string `json:"work,omitempty"`
	// Volatile leaves out syncs of a root that is thrown away.
	Volatile bool `json:"volatile,omitempty"`
}

// planHandovers decides which mounts the parent makes: those whose source a
// process in the container's user namespace may not reach, or that must be
// id-mapped.
func (c *compiler) planHandovers() {
	if !c.host.Privileged {
		return
	}
	user := has(c.spec, specs.UserNamespace)
	if user || c.set.Overlay != nil {
		c.handovers = append(c.handovers, Handover{Mount: handRoot})
	}
	if len(c.nodes.missing) > 0 {
		c.handovers = append(c.handovers, Handover{Mount: handDevices})
	}
	for i, m := range c.spec.Mounts {
		if isBind(m) && (user || wantsIDMap(m)) {
			c.handovers = append(c.handovers, Handover{Mount: i})
		}
	}
}

// await compiles the wait for the mounts that the parent makes.
func (c *compiler) await(text string) []launch.Slot {
	left := len(c.handovers)
	slots := c.p.Await(text, min(left, launch.MaxFiles))
	for left -= len(slots); left > 0; left -= launch.MaxFiles {
		slots = append(slots, c.p.Await(text, min(left, launch.MaxFiles))...)
	}
	return slots
}

// sendMounts is the parent's side of await.
func sendMounts(p *launch.Process, mounts []*os.File) error {
	first := min(len(mounts), launch.MaxFiles)
	err := p.Send(mounts[:first]...)
	for chunk := range slices.Chunk(mounts[first:], launch.MaxFiles) {
		if err == nil {
			err = p.Send(chunk...)
		}
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		// It failed before it came here, and said why.
		if _, said := p.Next(); said != nil && said != io.EOF {
			return said
		}
	}
	return err
}

// handover finds the descriptor that the parent gave.
func (c *compiler) handover(mount int) (launch.Slot, bool) {
	for i, h := range c.handovers {
		if h.Mount == mount {
			return c.handed[i], true
		}
	}
	return launch.None, false
}

// stopPropagation keeps the container's mounts from the host. The host's new
// mounts still reach a container that asks for it with rslave or rshared.
//
// A bind mount that is to be shared with the host must be copied from one that
// still is, so then only the root, below which the container is made, is
// parted at first.
func (c *compiler) stopPropagation() {
	op := launch.Op{
		Call: launch.MountSetattr,
		Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.AT_RECURSIVE, "AT_RECURSIVE"), mountAttr(0, 0, unix.MS_SLAVE), launch.Int(mountAttrSize)},
		Text: "keep the container's mounts from the host",
	}
	if slices.ContainsFunc(c.spec.Mounts, wantsShared) {
		op.Args[2] = launch.Int(0)
		c.hostRoot = c.p.NewSlot()
		c.add(launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_PATH|O_DIRECTORY")},
			Result: c.hostRoot, Text: "open the host's root",
		})
	}
	c.add(op)
}

// mountRoot puts the root file system over the process's root, where the
// pivot will find it.
func (c *compiler) mountRoot() {
	c.mountNodes()
	tree, given := c.handover(handRoot)
	switch {
	case given:
	case c.set.Overlay != nil:
		tree = c.overlay(c.set.Overlay)
	default:
		tree = c.p.NewSlot()
		c.add(launch.Op{
			Call:   launch.OpenTree,
			Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(c.spec.Root.Path), launch.Flags(unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLONE|AT_RECURSIVE")},
			Result: tree, Text: "open the root file system " + c.spec.Root.Path, Field: "root.path",
		})
	}
	c.root = tree
	// A copy of a shared mount is a peer of the host's: left as it is, all
	// that is mounted below it would appear on the host.
	if p := propagation(c.spec.Linux.RootfsPropagation); p.flag == unix.MS_SLAVE {
		c.add(setAttr(tree, 0, 0, p.flag, true, "set the propagation of the root file system", "linux.rootfsPropagation"))
	} else {
		c.add(setAttr(tree, 0, 0, unix.MS_PRIVATE, true, "make the root file system private", ""))
	}
	c.add(launch.Op{
		Call: launch.MoveMount,
		Args: []launch.Arg{launch.Result(tree), launch.String(""), launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")},
		Text: "mount the root file system", Field: "root.path",
	})
}

// sharePropagation comes after the pivot, which takes no shared mounts.
func (c *compiler) sharePropagation() {
	c.shareMounts()
	p := propagation(c.spec.Linux.RootfsPropagation)
	if p.flag == 0 || p.flag == unix.MS_SLAVE || p.flag == unix.MS_PRIVATE {
		return
	}
	c.add(setAttr(c.root, 0, 0, p.flag, p.recursive, "set the propagation of the root file system", "linux.rootfsPropagation"))
}

// pivot makes the root file system the process's root and takes the host's
// away.
func (c *compiler) pivot() {
	c.add(launch.Op{Call: launch.Fchdir, Args: []launch.Arg{launch.Result(c.root)}, Text: "enter the root file system"})
	if c.set.NoPivot {
		// A ramdisk, which pivot_root can't replace, can only be covered.
		c.warnings = append(c.warnings, "without pivot_root the host's root stays beneath the container's, in reach of CAP_SYS_CHROOT")
		c.add(launch.Op{Call: launch.Chroot, Args: []launch.Arg{launch.String(".")}, Text: "change to the root file system"})
	} else {
		c.add(launch.Op{Call: launch.PivotRoot, Args: []launch.Arg{launch.String("."), launch.String(".")}, Text: "pivot to the root file system"})
	}
	if c.hostRoot != launch.None {
		// Else the host's mounts would be taken from the host as well.
		c.add(setAttr(c.hostRoot, 0, 0, unix.MS_SLAVE, true, "keep the host's mounts on the host", ""))
	}
	if !c.set.NoPivot {
		c.add(launch.Op{Call: launch.Umount2, Args: []launch.Arg{launch.String("."), launch.Flags(unix.MNT_DETACH, "MNT_DETACH")}, Text: "take the host's root away"})
	}
	c.add(launch.Op{Call: launch.Chdir, Args: []launch.Arg{launch.String("/")}, Text: "go to the new root"})
}
