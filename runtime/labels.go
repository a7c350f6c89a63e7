package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Labels of AppArmor and SELinux are written to files of the process's own in
// /proc. What is mounted on the container's /proc is the image's or a volume's
// to choose (CVE-2019-16884, CVE-2025-52881), and a write that ends elsewhere
// leaves the process without its confinement. So the files are opened below
// the host's procfs, which the parent opened and checked, and no mount on it
// and no link to elsewhere is followed.

// procInput names the root of the host's procfs.
const procInput = "proc"

// labelled tells whether the program of a process needs the host's procfs.
func (h *Host) labelled(p *specs.Process) bool {
	return p != nil && (h.AppArmor && p.ApparmorProfile != "" || h.SELinux && p.SelinuxLabel != "")
}

// openProc opens the host's procfs for a process that gets a label.
func (s *starting) openProc(h *Host, p *specs.Process) error {
	if !h.labelled(p) {
		return nil
	}
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc", Err: err}
	}
	s.keep(procInput, os.NewFile(uintptr(fd), "/proc"))
	const rootInode = 1
	var fs unix.Statfs_t
	var st unix.Stat_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC || unix.Fstat(fd, &st) != nil || st.Ino != rootInode {
		return fmt.Errorf("/proc is not the root of a procfs, through which labels are set")
	}
	return nil
}

// labels compiles what the kernel shall confine the program by, once it is
// executed.
func (c *compiler) labels(p *specs.Process, field string) {
	if label := p.SelinuxLabel; label != "" && c.host.SELinux {
		at := field + ".selinuxLabel"
		if !c.set.NoKeyring {
			c.label([]string{"attr/keycreate"}, label, "label the session keyring "+label, at)
		}
		c.label([]string{"attr/exec"}, label, "label the program "+label, at)
	}
	if profile := p.ApparmorProfile; profile != "" && c.host.AppArmor {
		// Where several security modules are in force attr/exec is another's.
		c.label([]string{"attr/apparmor/exec", "attr/exec"}, "exec "+profile,
			fmt.Sprintf("confine the program by the AppArmor profile %q (is it loaded?)", profile), field+".apparmorProfile")
	}
}

// label compiles the write of a text to the first file that there is.
func (c *compiler) label(files []string, value, text, field string) {
	fd := c.p.NewSlot()
	for i, name := range files {
		left := len(files) - 1 - i
		open := launch.Op{
			Call: launch.Openat2,
			Args: []launch.Arg{launch.Input(procInput), launch.String("self/" + name),
				openHow(unix.O_WRONLY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_XDEV), launch.Int(openHowSize)},
			Result: fd, Skip: left, Text: "open /proc/self/" + name, Field: field,
		}
		if left > 0 {
			open.Accept = []launch.Accept{{Errno: unix.ENOENT}}
		}
		c.add(open)
	}
	c.add(
		// Between opening and writing the process may not change its rights.
		launch.Op{Call: launch.Write, Args: []launch.Arg{launch.Result(fd), launch.String(value), launch.Int(len(value))}, Text: text, Field: field},
		launch.Op{Call: launch.Close, Args: []launch.Arg{launch.Result(fd)}, Text: text, Field: field},
	)
}

// mountLabel gives a new file system linux.mountLabel, unless its options have
// a label. The kernel labels those of its own by their files, and mqueue by its
// root.
func (c *compiler) mountLabel(fs launch.Slot, kind string, options []string, text string) {
	label := c.spec.Linux.MountLabel
	if label == "" || !c.host.SELinux || slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "context=") }) {
		return
	}
	switch kind {
	case "proc", "sysfs", "mqueue", "cgroup", "cgroup2":
		return
	}
	c.add(launch.Op{
		Call: launch.Fsconfig, Args: []launch.Arg{launch.Result(fs), launch.Flags(unix.FSCONFIG_SET_STRING, "SET_STRING"), launch.String("context"), launch.String(label), launch.Int(0)},
		Text: text + ": its label", Field: "linux.mountLabel",
	})
}

// labelQueue compiles the label of a mounted mqueue.
func (c *compiler) labelQueue(kind string, mount launch.Slot) {
	label := c.spec.Linux.MountLabel
	if kind != "mqueue" || label == "" || !c.host.SELinux {
		return
	}
	const text, field = "label the message queues", "linux.mountLabel"
	root := c.p.NewSlot()
	c.add(
		launch.Op{
			Call: launch.Openat, Args: []launch.Arg{launch.Result(mount), launch.String("."), launch.Flags(unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, "O_DIRECTORY")},
			Result: root, Text: text, Field: field,
		},
		launch.Op{
			Call: launch.Fsetxattr, Args: []launch.Arg{launch.Result(root), launch.String("security.selinux"), launch.String(label), launch.Int(len(label)), launch.Int(0)},
			Text: text, Field: field, Accept: []launch.Accept{{Errno: unix.EOPNOTSUPP}},
		},
		launch.Op{Call: launch.Close, Args: []launch.Arg{launch.Result(root)}, Text: text, Field: field},
	)
}
