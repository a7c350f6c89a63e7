package runtime

import (
	"fmt"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// makeNodes makes device nodes for a user namespace, which can't, in a file
// system of their own. Each has its number in the list as its name, and its
// owner is the one that it is to have inside.
func makeNodes(spec *specs.Spec, nodes []device) (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen tmpfs", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("make a tmpfs for devices", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("mount a tmpfs for devices", err)
	}
	f := os.NewFile(uintptr(fd), "devices")
	for i, d := range nodes {
		if err := makeNode(spec, fd, strconv.Itoa(i), d); err != nil {
			f.Close()
			return nil, badField(d.field, "make the device %s, which the host doesn't have: %w", d.path, err)
		}
	}
	return f, nil
}

func makeNode(spec *specs.Spec, dir int, name string, d device) error {
	uid, ok := hostID(spec.Linux.UIDMappings, d.uid)
	gid, groupOK := hostID(spec.Linux.GIDMappings, d.gid)
	if len(spec.Linux.UIDMappings) > 0 && !(ok && groupOK) {
		return fmt.Errorf("its owner %d:%d has no id in the user namespace", d.uid, d.gid)
	}
	if err := unix.Mknodat(dir, name, d.kind|d.mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
		return err
	}
	if err := unix.Fchownat(dir, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	return unix.Fchmodat(dir, name, d.mode, 0)
}
