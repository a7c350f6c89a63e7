package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"loper.run/image"
	"loper.run/image/oci"
	"loper.run/runtime"
)

// imageMountDir holds the mount points of images, below RunRoot.
const imageMountDir = "image-mount"

// MountImage mounts an image's root file system, read-only and for the caller
// alone, and returns where. An image that is mounted stays where it is. Only
// root can: the mount of an ordinary user would end with this process.
func (e *Engine) MountImage(img *image.Image) (string, error) {
	if e.Rootless {
		return "", errors.New("mounting images needs root: the mount of an ordinary user would be seen by nobody else")
	}
	if img.Builtin != "" {
		return "", fmt.Errorf("image %s is built in: there is nothing to mount", img.Builtin)
	}
	// Nobody removes the image meanwhile.
	unlock, err := e.Images.Lock(img)
	if err != nil {
		return "", err
	}
	defer unlock()
	mounts, err := e.ImageMounts()
	if err != nil {
		return "", err
	}
	if at := mounts[img.ID]; at != "" {
		return at, nil
	}
	// An overlay needs two layers at least.
	empty, at := e.imageMount("empty"), e.imageMount(img.ID.Algorithm().String()+"-"+img.ID.Hex())
	for _, dir := range []string{empty, at} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
	}
	if err := mountReadOnly(&runtime.Overlay{Lower: append([]string{empty}, img.Layers...)}, at); err != nil {
		return "", errors.Join(fmt.Errorf("mount image %s: %w", img.ID.Short(), err), os.Remove(at))
	}
	return at, nil
}

func (e *Engine) imageMount(name string) string { return filepath.Join(e.RunRoot, imageMountDir, name) }

// mountReadOnly makes the file system of an image appear at a directory, with
// nothing in it that could give rights to whoever opens it.
func mountReadOnly(o *runtime.Overlay, at string) error {
	f, err := o.Mount()
	if err != nil {
		return err
	}
	defer f.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(int(f.Fd()), "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	return os.NewSyscallError("move_mount", unix.MoveMount(int(f.Fd()), "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// ImageMounts returns where images are mounted, by their ids.
func (e *Engine) ImageMounts() (map[oci.Digest]string, error) {
	d, err := os.Open(e.imageMount(""))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	dir, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(d.Fd()))) // as the kernel's list of mounts has it
	if err != nil {
		return nil, err
	}
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	mounts := map[oci.Digest]string{}
	for _, m := range infos {
		name, below := strings.CutPrefix(m.Mountpoint, dir+"/")
		if id, err := oci.Parse(strings.Replace(name, "-", ":", 1)); below && err == nil {
			mounts[id] = m.Mountpoint
		}
	}
	return mounts, nil
}

// UnmountImage ends an image's mount. With force it ends for those who use it
// too, as soon as they are done.
func (e *Engine) UnmountImage(id oci.Digest, force bool) error {
	mounts, err := e.ImageMounts()
	if err != nil {
		return err
	}
	at := mounts[id]
	if at == "" {
		return fmt.Errorf("image %s is not mounted", id.Short())
	}
	flags := unix.UMOUNT_NOFOLLOW
	if force {
		flags |= unix.MNT_DETACH
	}
	if err := unix.Unmount(at, flags); err != nil {
		if err == unix.EBUSY {
			return fmt.Errorf("image %s: somebody uses its mount at %s: end that, or use --force", id.Short(), at)
		}
		return &os.PathError{Op: "unmount", Path: at, Err: err}
	}
	return os.Remove(at)
}
