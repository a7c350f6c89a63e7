package layer

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// RemoveTree removes name, a single name below dir, whatever it is, following
// no link and however deep it goes. It is no error when there is nothing.
func RemoveTree(dir *os.File, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return fmt.Errorf("remove %q: not a single name", name)
	}
	if err := removeAt(int(dir.Fd()), name); err != nil {
		return fmt.Errorf("remove %s/%s: %w", dir.Name(), name, err)
	}
	return nil
}

func removeAt(dir int, name string) error {
	err := retry(func() error { return unix.Unlinkat(dir, name, 0) })
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.EISDIR, unix.EPERM: // EPERM is what POSIX wants for a directory
	default:
		return err
	}
	top, oerr := openToEmpty(dir, name)
	if oerr == unix.ENOTDIR || oerr == unix.ELOOP {
		return err
	}
	if oerr != nil {
		return oerr
	}
	defer unix.Close(top)
	r := remover{top: top, buf: make([]byte, 32<<10)}
	return r.remove(dir, name, top, 0)
}

// remover empties one tree.
type remover struct {
	top   int // where what lies too deep is moved to
	moved int
	buf   []byte
}

// maxOpenDepth is how many directories are open at once, one below the other.
const maxOpenDepth = 100

// remove removes name, whose open directory fd is, with all that is below.
func (r *remover) remove(dir int, name string, fd, depth int) error {
	for {
		if err := r.empty(fd, depth); err != nil {
			return err
		}
		err := retry(func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.ENOTEMPTY, unix.EEXIST: // more was moved or made here meanwhile
			continue
		}
		return err
	}
}

func (r *remover) empty(fd, depth int) error {
	names, err := r.list(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		err := retry(func() error { return unix.Unlinkat(fd, name, 0) })
		switch err {
		case nil, unix.ENOENT:
			continue
		case unix.EISDIR, unix.EPERM:
		default:
			return err
		}
		sub, oerr := openToEmpty(fd, name)
		switch oerr {
		case nil:
		case unix.ENOENT:
			continue
		case unix.ENOTDIR, unix.ELOOP:
			return err
		default:
			return oerr
		}
		if depth >= maxOpenDepth {
			err = r.lift(fd, name)
		} else {
			err = r.remove(fd, name, sub, depth+1)
		}
		unix.Close(sub)
		if err != nil {
			return err
		}
	}
	return nil
}

// lift moves a directory to the top of the tree, where it is found again.
func (r *remover) lift(fd int, name string) error {
	for {
		to := ".lifted." + strconv.Itoa(r.moved)
		r.moved++
		err := retry(func() error { return unix.Renameat2(fd, name, r.top, to, unix.RENAME_NOREPLACE) })
		if err != unix.EEXIST {
			return err
		}
	}
}

// list returns the names in an open directory, from its start.
func (r *remover) list(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	var names []string
	for {
		n, err := unix.ReadDirent(fd, r.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent(r.buf[:n], -1, names)
	}
}

// openToEmpty opens a directory so that entries can be removed from it, also
// when its owner has locked himself out.
func openToEmpty(dir int, name string) (int, error) {
	fd, err := opendir(dir, name)
	if err == nil {
		var st unix.Stat_t
		if os.Geteuid() != 0 && unix.Fstat(fd, &st) == nil && st.Mode&0o700 != 0o700 {
			unix.Fchmod(fd, 0o700) // or the removal says what is wrong
		}
		return fd, nil
	}
	if err != unix.EACCES {
		return -1, err
	}
	if chmodat(dir, name, 0o700) != nil {
		return -1, err
	}
	return opendir(dir, name)
}
