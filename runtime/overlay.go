package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Mount mounts the layers with the ids they have on the host, without giving
// them a place. What of it is not moved somewhere ends with the descriptor.
func (o *Overlay) Mount() (*os.File, error) { return mountOverlay(o, nil) }

// mountOverlay mounts layers from the host's user namespace, the read-only
// ones mapped to the ids of the container's. The upper directory is not mapped
// (the kernel doesn't take it): it belongs to the container's root already.
func mountOverlay(o *Overlay, user *os.File) (*os.File, error) {
	if !overlayByNames.Load() {
		f, err := mountOverlayDirectly(o, user)
		if !refusesDescriptors(err) {
			return f, err
		}
	}
	f, err := mountOverlayByNames(o, user)
	if err == nil {
		overlayByNames.Store(true)
	}
	return f, err
}

// overlayByNames is set once this kernel turned out to want the names of
// layers. Some say so at the last step only, so the whole operation is what is
// tried.
var overlayByNames atomic.Bool

// refusesDescriptors: before Linux 6.13 a descriptor of a tree is no open file
// (EBADF) or of the wrong kind (EINVAL); before 6.8 there is no "lowerdir+"
// (EINVAL), and before 6.5 overlayfs takes strings only (EOPNOTSUPP).
func refusesDescriptors(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.EOPNOTSUPP)
}

func mountOverlayDirectly(o *Overlay, user *os.File) (*os.File, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen overlay", err)
	}
	defer unix.Close(fs)
	set := func(key, value string) error {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return overlayError(fs, key+"="+value, err)
		}
		return nil
	}
	if err := set("source", "overlay"); err != nil {
		return nil, err
	}
	// The layers' mounts belong to no namespace: they last only while they
	// are open, and the overlay takes its own copies at create.
	var layers []*os.File
	defer func() { closeAll(layers) }()
	for i := len(o.Lower) - 1; i >= 0; i-- {
		layer, err := addLower(fs, o.Lower[i], user)
		if err != nil {
			return nil, err
		}
		if layer != nil {
			layers = append(layers, layer)
		}
	}
	if o.Upper != "" {
		if err := set("upperdir", o.Upper); err != nil {
			return nil, err
		}
		if err := set("workdir", o.Work); err != nil {
			return nil, err
		}
		if o.Volatile {
			if err := unix.FsconfigSetFlag(fs, "volatile"); err != nil {
				return nil, overlayError(fs, "volatile", err)
			}
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, overlayError(fs, "create", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, overlayError(fs, "mount", err)
	}
	return os.NewFile(uintptr(fd), "overlay"), nil
}

// addLower adds one layer, by descriptor when it is id-mapped. The descriptor
// must stay open until the overlay is made.
func addLower(fs int, dir string, user *os.File) (*os.File, error) {
	if user == nil {
		if err := unix.FsconfigSetString(fs, "lowerdir+", dir); err != nil {
			return nil, overlayError(fs, "lowerdir+="+dir, err)
		}
		return nil, nil
	}
	layer, err := openTree(dir, 0)
	if err != nil {
		return nil, fmt.Errorf("open a layer: %w", err)
	}
	if err := mapIDs(layer, user, false); err != nil {
		layer.Close()
		return nil, err
	}
	if err := unix.FsconfigSetFd(fs, "lowerdir+", int(layer.Fd())); err != nil {
		layer.Close()
		return nil, overlayError(fs, "lowerdir+="+dir, err)
	}
	return layer, nil
}

// overlayError adds what the kernel has to say, which it leaves in the
// descriptor as lines like "e overlay: …".
func overlayError(fs int, what string, err error) error {
	buf := make([]byte, 1024)
	var said []string
	for {
		n, readErr := unix.Read(fs, buf)
		if readErr != nil || n <= 0 {
			break
		}
		_, line, _ := strings.Cut(strings.TrimSpace(string(buf[:n])), " ")
		said = append(said, line)
	}
	if len(said) == 0 {
		return fmt.Errorf("overlay: %s: %w", what, err)
	}
	return fmt.Errorf("overlay: %s: %w (%s)", what, err, strings.Join(said, "; "))
}
