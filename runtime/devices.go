package runtime

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// device is a device node of the container.
type device struct {
	path         string
	kind         uint32 // unix.S_IFCHR, S_IFBLK or S_IFIFO
	major, minor uint32
	mode         uint32
	uid, gid     uint32
	field        string
}

// defaultDevices are those of runtime-spec, "Default Devices".
func defaultDevices() []device {
	list := []device{
		{path: "/dev/null", major: 1, minor: 3},
		{path: "/dev/zero", major: 1, minor: 5},
		{path: "/dev/full", major: 1, minor: 7},
		{path: "/dev/random", major: 1, minor: 8},
		{path: "/dev/urandom", major: 1, minor: 9},
		{path: "/dev/tty", major: 5, minor: 0},
	}
	for i := range list {
		list[i].kind, list[i].mode = unix.S_IFCHR, 0o666
	}
	return list
}

// devicePlan is what the container's /dev will have.
type devicePlan struct {
	foreign bool // /dev is not the container's own
	list    []device
	missing []device // of the list: those that the parent has to make
}

// planDevices lists the devices. Where /dev is a bind mount, nothing is made in
// it: it is somebody else's.
func (c *compiler) planDevices() error {
	for _, m := range c.spec.Mounts {
		if clean(m.Destination) == "/dev" && isBind(m) {
			c.nodes.foreign = true
		}
	}
	if !c.nodes.foreign {
		c.nodes.list = defaultDevices()
	}
	for i, d := range c.spec.Linux.Devices {
		field := fmt.Sprintf("linux.devices[%d]", i)
		dev, err := specDevice(d, field)
		if err != nil {
			return err
		}
		if c.nodes.foreign && strings.HasPrefix(dev.path, "/dev/") {
			c.warn(field, "is left out: /dev is a bind mount")
			continue
		}
		c.nodes.list = replaceDevice(c.nodes.list, dev)
	}
	if !c.host.Privileged || !has(c.spec, specs.UserNamespace) || c.host.IsDevice == nil {
		return nil
	}
	for _, d := range c.nodes.list {
		if d.kind != unix.S_IFIFO && !c.host.IsDevice(d.path, d.kind, d.major, d.minor) {
			c.nodes.missing = append(c.nodes.missing, d)
		}
	}
	return nil
}

// devices compiles the device nodes and the links in /dev.
func (c *compiler) devices() {
	for _, d := range c.nodes.list {
		if c.inUserNamespace() {
			c.bindDevice(d)
		} else {
			c.makeDevice(d)
		}
	}
	if !c.nodes.foreign {
		c.deviceLinks()
	}
}

func specDevice(d specs.LinuxDevice, field string) (device, error) {
	out := device{path: path.Clean("/" + d.Path), major: uint32(d.Major), minor: uint32(d.Minor), mode: 0o666, field: field}
	switch d.Type {
	case "c", "u":
		out.kind = unix.S_IFCHR
	case "b":
		out.kind = unix.S_IFBLK
	case "p":
		out.kind = unix.S_IFIFO
	default:
		return out, badField(field+".type", "%q is none of c, u, b and p", d.Type)
	}
	if d.Path == "" {
		return out, badField(field+".path", "is empty")
	}
	if out.kind != unix.S_IFIFO && (d.Major < 0 || d.Minor < 0 || d.Major > 1<<32-1 || d.Minor > 1<<32-1) {
		return out, badField(field, "%d:%d is no device number", d.Major, d.Minor)
	}
	if d.FileMode != nil {
		out.mode = uint32(*d.FileMode) & 0o7777
	}
	if d.UID != nil {
		out.uid = *d.UID
	}
	if d.GID != nil {
		out.gid = *d.GID
	}
	return out, nil
}

// replaceDevice appends a device; one at the same path is replaced.
func replaceDevice(list []device, d device) []device {
	for i := range list {
		if list[i].path == d.path {
			list[i] = d
			return list
		}
	}
	return append(list, d)
}

// makeDevice compiles mknod.
func (c *compiler) makeDevice(d device) {
	dir, name := path.Split(d.path)
	parent := c.ensureDirOnce(dir, d.field)
	text := "make the device " + d.path
	var number uint64
	if d.kind == unix.S_IFIFO {
		d.major, d.minor = 0, 0
	} else {
		number = unix.Mkdev(d.major, d.minor)
	}
	made := c.p.Add(launch.Op{
		Call: launch.Mknodat, Args: []launch.Arg{launch.Result(parent), launch.String(name), launch.Int(d.kind | d.mode), launch.Int(number)},
		Text: text, Field: d.field, Accept: []launch.Accept{{Errno: unix.EEXIST}},
	})
	c.checkDevice(launch.Result(parent), name, d, text) // something is there already
	c.p.Ops[made].Skip = len(c.p.Ops) - made - 1
	if d.uid != 0 || d.gid != 0 {
		// By a descriptor that was looked at: another's file may be there by now.
		node := c.p.NewSlot()
		c.add(launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Result(parent), launch.String(name), launch.Flags(unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, "O_PATH|O_NOFOLLOW")},
			Result: node, Text: text, Field: d.field,
		})
		c.checkDevice(launch.Result(node), "", d, text)
		c.add(launch.Op{
			Call: launch.Fchownat, Args: []launch.Arg{launch.Result(node), launch.String(""), launch.Int(d.uid), launch.Int(d.gid), launch.Flags(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH")},
			Text: text, Field: d.field,
		})
	}
}

// bindDevice compiles a bind of the host's node, since a user namespace can't
// make nodes. The node is checked after it was opened: it must be the device
// that was asked for, whatever lies at its path. What the host doesn't have
// comes from the parent.
func (c *compiler) bindDevice(d device) {
	if d.kind == unix.S_IFIFO {
		c.makeDevice(d)
		return
	}
	text := "bind the host's device " + d.path
	tree := c.p.NewSlot()
	var node launch.Slot
	if i := slices.Index(c.nodes.missing, d); i >= 0 {
		text = "bind the device " + d.path
		made, _ := c.handover(handDevices)
		node = c.p.NewSlot()
		c.add(launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Result(made), launch.String(strconv.Itoa(i)), launch.Flags(unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, "O_PATH|O_NOFOLLOW")},
			Result: node, Text: text, Field: d.field,
		})
	} else {
		node = c.hostDevice(d, text)
	}
	c.add(copyMount(node, tree, text, d.field))
	c.add(moveMount(tree, c.ensure(d.path, false, d.field), text, d.field))
}

// mountNodes attaches the devices that the parent made, where only the host's
// root sees them: a copy can be made of what is attached.
func (c *compiler) mountNodes() {
	made, ok := c.handover(handDevices)
	if !ok {
		return
	}
	c.add(
		setAttr(made, 0, 0, unix.MS_PRIVATE, true, "take the devices", "linux.devices"),
		launch.Op{
			Call: launch.MoveMount,
			Args: []launch.Arg{launch.Result(made), launch.String(""), launch.Int(unix.AT_FDCWD), launch.String("/"), launch.Flags(unix.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")},
			Text: "take the devices", Field: "linux.devices",
		})
}

// copyMount copies the mount of the file behind a descriptor, which must be
// attached: kernels before 6.15 copy no others.
func copyMount(from, to launch.Slot, text, field string) launch.Op {
	return launch.Op{
		Call:   launch.OpenTree,
		Args:   []launch.Arg{launch.Result(from), launch.String(""), launch.Flags(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, "OPEN_TREE_CLONE|AT_EMPTY_PATH")},
		Result: to, Text: text, Field: field,
	}
}

// hostDevice opens a device node of the host.
func (c *compiler) hostDevice(d device, text string) launch.Slot {
	node := c.p.NewSlot()
	c.add(launch.Op{
		Call:   launch.Openat2,
		Args:   []launch.Arg{launch.Int(unix.AT_FDCWD), launch.String(d.path), openHow(unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_MAGICLINKS), launch.Int(openHowSize)},
		Result: node, Text: text, Field: d.field,
	})
	c.checkDevice(launch.Result(node), "", d, text)
	return node
}

// checkDevice makes sure that a file is the device. The name is below the
// directory at, or empty for the file behind at itself.
func (c *compiler) checkDevice(at launch.Arg, name string, d device, text string) {
	st := c.p.NewBuffer()
	c.add(
		launch.Op{
			Call: launch.Statx, Args: []launch.Arg{at, launch.String(name), launch.Flags(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, "AT_EMPTY_PATH|AT_SYMLINK_NOFOLLOW"), launch.Int(unix.STATX_BASIC_STATS), st},
			Text: text, Field: d.field,
		},
		// struct statx: stx_mode is the 16 bits at 28, stx_rdev_major and _minor are at 128.
		launch.Op{
			Call: launch.Check, Args: []launch.Arg{st, launch.Int(24), launch.Int(int(unix.ENXIO)), launch.Int(uint64(unix.S_IFMT) << 32), launch.Int(uint64(d.kind) << 32)},
			Text: text + ": what is there is something else", Field: d.field,
		},
		launch.Op{
			Call: launch.Check, Args: []launch.Arg{st, launch.Int(128), launch.Int(int(unix.ENXIO)), launch.Int(^uint64(0)), launch.Int(uint64(d.minor)<<32 | uint64(d.major))},
			Text: fmt.Sprintf("%s: what is there is not %d:%d", text, d.major, d.minor), Field: d.field,
		},
	)
}

// ensureDirOnce opens a directory of the container, the usual /dev only once.
func (c *compiler) ensureDirOnce(dir, field string) launch.Slot {
	if path.Clean(dir) != "/dev" {
		return c.ensure(dir, true, field)
	}
	if c.dev == launch.None {
		c.dev = c.ensure("/dev", true, field)
	}
	return c.dev
}

// deviceLinks compiles the symbolic links of runtime-spec, "Dev symbolic
// links".
func (c *compiler) deviceLinks() {
	dev := c.ensureDirOnce("/dev", "")
	for _, l := range [][2]string{
		{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	} {
		c.add(launch.Op{
			Call: launch.Symlinkat, Args: []launch.Arg{launch.String(l[0]), launch.Result(dev), launch.String(l[1])},
			Text: "make /dev/" + l[1], Accept: []launch.Accept{{Errno: unix.EEXIST}},
		})
	}
}

// openNull opens the host's /dev/null while the host is still in sight; it is
// what hides a masked file.
func (c *compiler) openNull() {
	if len(c.spec.Linux.MaskedPaths) == 0 {
		return
	}
	null := defaultDevices()[0]
	c.null = c.hostDevice(null, "open the host's /dev/null")
}
