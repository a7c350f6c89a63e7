package overlay

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
)

// IsWhiteout reports whether an object hides what lower layers have under its
// name.
func IsWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// IsMark reports whether an extended attribute is overlayfs's own.
func IsMark(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.")
}

// prefix begins the attributes that count: who is root inside of an overlay
// mounted by an ordinary user may set the user's, and no others.
func prefix() string {
	if userns.Rootless() {
		return "user.overlay."
	}
	return "trusted.overlay."
}

// IsOpaque reports whether an open directory hides those of lower layers.
func IsOpaque(fd int) bool {
	var value [1]byte
	n, err := unix.Fgetxattr(fd, prefix()+"opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// hasMetacopy reports whether an open file was copied up without its bytes.
func hasMetacopy(fd int) bool {
	_, err := unix.Fgetxattr(fd, prefix()+"metacopy", nil)
	return err == nil
}

// redirect returns where lower layers have an open directory, or the bytes of a
// file: another name in the same directory, or a path from the layers' root; ""
// under the same name.
func redirect(fd int) (string, error) {
	value := make([]byte, unix.PathMax)
	n, err := unix.Fgetxattr(fd, prefix()+"redirect", value)
	if err == unix.ENODATA || err == unix.ENOTSUP {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	target := string(value[:n])
	names := strings.Split(strings.TrimPrefix(target, "/"), "/")
	for _, name := range names {
		if name == "" || name == "." || name == ".." || len(names) > 1 && target[0] != '/' || strings.IndexByte(name, 0) >= 0 {
			return "", errors.New("it is redirected to no path of a layer")
		}
	}
	return target, nil
}
