package layer

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// retry repeats a call that a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// openat opens name below the directory fd; the result is close-on-exec.
func openat(fd int, name string, flags int, mode uint32) (int, error) {
	for {
		n, err := unix.Openat(fd, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// opendir opens the directory name itself, never what a link points to.
func opendir(fd int, name string) (int, error) {
	return openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// openBeneath opens a directory by its path as a process whose root directory
// is root would see it: links and their ".." end inside.
func openBeneath(root int, path string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range 128 {
		fd, err := unix.Openat2(root, path, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN: // EAGAIN: something was renamed on the way
			continue
		}
		return fd, err
	}
	return -1, unix.EAGAIN
}

// write writes all of b.
func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// pwrite writes all of b at an offset.
func pwrite(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// chmodat sets the mode of name itself; on a link it fails instead of
// following it. It needs /proc, because fchmodat has no flag for that before
// Linux 6.6.
func chmodat(fd int, name string, mode uint32) error {
	p, err := openat(fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(p)
	return retry(func() error { return unix.Chmod("/proc/self/fd/"+strconv.Itoa(p), mode) })
}

// chmodat sets the mode of name itself, which was just made.
func (u *unpacker) chmodat(dir int, base string, mode uint32) error {
	if u.alone { // no link leads out, and there is no /proc
		return retry(func() error { return unix.Fchmodat(dir, base, mode, 0) })
	}
	return chmodat(dir, base, mode)
}

// umask returns the process's file mode creation mask without changing it
// under other threads; all bits when it cannot be known.
func umask() uint32 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o777
	}
	_, rest, _ := strings.Cut(string(data), "\nUmask:\t")
	line, _, _ := strings.Cut(rest, "\n")
	m, err := strconv.ParseUint(line, 8, 32)
	if err != nil {
		return 0o777
	}
	return uint32(m)
}

// futimens sets the access and modification times of an open file.
func futimens(fd int, ts *[2]unix.Timespec) error {
	return retry(func() error { return unix.UtimesNanoAt(fd, "", ts[:], unix.AT_EMPTY_PATH) })
}
