package runtime

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Until its execve, the process that becomes a container is this very program,
// and a container can make it execute itself: by a link to /proc/self/exe, or
// by naming that as a script's interpreter. It can then open the file behind
// it. Whoever may write that file, once it is not running any more, owns the
// host (CVE-2019-5736). So where a container's ids could write it, the
// container is started from a copy of the file's mount that is read-only.

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

// ProtectSelf makes sure that this program runs from a file that nobody can
// write through it. Unless it does, it starts the program anew, in the same
// process and with the same arguments, so it is for the beginning of a command.
func ProtectSelf() error {
	if protected() {
		return os.Unsetenv(protectedEnv)
	}
	if os.Getenv(protectedEnv) != "" {
		return fmt.Errorf("protect %s from the container: it is still writable", selfPath)
	}
	copyOf := readonlyMount
	if os.Geteuid() != 0 {
		copyOf = sealedCopy
	}
	f, err := copyOf()
	if err != nil {
		return fmt.Errorf("protect %s from the container: %w", selfPath, err)
	}
	defer f.Close()
	err = syscall.Exec("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.Args, append(os.Environ(), protectedEnv+"=1"))
	return fmt.Errorf("start the protected program: %w", err)
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

// readonlyMount is the program's file on a mount of its own, which is in no
// namespace and ends with the last process that runs from it. The file, and so
// its pages in memory, are the same.
func readonlyMount() (*os.File, error) {
	f, err := openTree(selfPath, 0)
	if err != nil {
		return nil, err
	}
	err = unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("mount_setattr", err)
	}
	return f, nil
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
