package runtime

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Until its execve, the process that becomes a container is this very program,
// and a container can make it execute itself: by a link to /proc/self/exe, or
// by naming that as a script's interpreter. It can then open the file behind
// it. Whoever may write that file, once it is not running any more, owns the
// host (CVE-2019-5736). So where a container's ids could write it, the
// container is started from a view of the file that is read-only.
//
// The new process changes to that view by itself, once it has the rights for it
// and before it enters the pid namespace, where others could see it. Where the
// kernel doesn't let it, the whole program is started anew from it.

// selfInput names the read-only view of this program's file.
const selfInput = "own file"

// shed makes the process run from the read-only view.
func (c *compiler) shed() {
	if c.set.Shed {
		c.add(launch.Op{Call: launch.Shed, Args: []launch.Arg{launch.Input(selfInput)}, Text: "run from a read-only view of this program's file"})
	}
}

// protectSelf opens the view if the container of spec needs it.
func (s *starting) protectSelf(spec *specs.Spec) (needed bool, err error) {
	if !Exposed(spec) || protected() {
		return false, nil
	}
	view, mount, err := readonlyView()
	if err != nil {
		return false, err
	}
	s.keep(selfInput, view)
	if mount != nil {
		s.owned = append(s.owned, mount) // closed when the start is over, as the kernel takes its time for that
	}
	return true, nil
}

// Exposed tells whether the ids of a container could write this program's
// file: its owner has an id in there.
func Exposed(spec *specs.Spec) bool {
	if !fresh(spec, specs.UserNamespace) {
		return true
	}
	var st unix.Stat_t
	if unix.Stat(selfPath, &st) != nil {
		return true
	}
	for _, m := range spec.Linux.UIDMappings {
		if st.Uid >= m.HostID && uint64(st.Uid) < uint64(m.HostID)+uint64(m.Size) {
			return true
		}
	}
	return false
}

const (
	selfPath = "/proc/self/exe"
	// protectedEnv tells the program that it was started anew once already.
	protectedEnv = "LOPER_PROTECTED"
)

// ProtectSelf starts this program anew from a read-only view of its file, in the
// same process and with the same arguments, if a container of spec needs that
// and the kernel lets no single process have the view. So it is for the
// beginning of a command.
func ProtectSelf(spec *specs.Spec) error {
	switch {
	case launch.CanShed() || !Exposed(spec):
		return nil
	case protected():
		return os.Unsetenv(protectedEnv)
	case os.Getenv(protectedEnv) != "":
		return fmt.Errorf("protect %s from the container: it is still writable", selfPath)
	}
	f, mount, err := readonlyView()
	if err != nil {
		return err
	}
	defer closeAll([]*os.File{f, mount})
	err = syscall.Exec("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.Args, append(os.Environ(), protectedEnv+"=1"))
	return fmt.Errorf("start the protected program: %w", err)
}

// readonlyView opens this program's file so that nobody can write it through
// the descriptor, or through what is started from it; and, if it lies on a
// mount of its own, that.
func readonlyView() (view, mount *os.File, err error) {
	if os.Geteuid() == 0 {
		view, mount, err = readonlyMount()
	} else {
		view, err = sealedCopy()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("protect %s from the container: %w", selfPath, err)
	}
	return view, mount, nil
}

// protected tells whether the program's file is on a read-only mount, or is a
// sealed one in memory.
func protected() bool {
	var fs unix.Statfs_t
	if unix.Statfs(selfPath, &fs) == nil && fs.Flags&unix.ST_RDONLY != 0 {
		return true
	}
	f, err := os.Open(selfPath)
	if err != nil {
		return false
	}
	defer f.Close()
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return err == nil && seals&unix.F_SEAL_WRITE != 0
}

// readonlyMount opens the program's file on a mount of its own, which is in no
// namespace and ends with the last process that runs from it. The file, and so
// its pages in memory, are the same.
func readonlyMount() (view, mount *os.File, err error) {
	if mount, err = openTree(selfPath, 0); err != nil {
		return nil, nil, err
	}
	err = unix.MountSetattr(int(mount.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		err = os.NewSyscallError("mount_setattr", err)
	} else {
		view, err = os.Open("/proc/self/fd/" + strconv.Itoa(int(mount.Fd())))
	}
	if err != nil {
		mount.Close()
		return nil, nil, err
	}
	return view, mount, nil
}

// sealedCopy is a copy in memory that nobody can change, for those who may not
// mount.
func sealedCopy() (*os.File, error) {
	self, err := os.Open(selfPath)
	if err != nil {
		return nil, err
	}
	defer self.Close()
	fd, err := unix.MemfdCreate("lope", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 all of them can be executed
		fd, err = unix.MemfdCreate("lope", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := io.Copy(f, self); err != nil {
		f.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, os.NewSyscallError("seal the copy", err)
	}
	return f, nil
}
