package runtime

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// restoreMounts names to criu where each mount from the host comes from. The
// sources are config.json's; an image has only places in the container. Places
// that criu finds in no image don't matter to it.
func (s *starting) restoreMounts() ([]string, error) {
	root, err := os.OpenFile(s.spec.Root.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, badField("root.path", "%w", err)
	}
	defer root.Close()
	host, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	m := mountSources{host: host}
	m.add("", s.spec.Root.Path)
	for i, mount := range s.spec.Mounts {
		source := s.sourceOf(mount)
		place := path.Clean("/" + mount.Destination)
		if !covered(s.spec.Mounts[:i], place) {
			file := false
			if isBind(mount) {
				st, err := os.Stat(source)
				file = err == nil && !st.IsDir()
			}
			if place, err = makePlace(root, place, file); err != nil {
				return nil, badField("mounts", "make the place of %s: %w", mount.Destination, err)
			}
		}
		if source != "" {
			m.add(place, source)
		}
		if mount.Type == "cgroup" {
			for name, dir := range s.cgroup.Paths() { // on v1 each has a mount below
				m.add(path.Join(place, name), dir)
			}
		}
	}
	devices := defaultDevices()
	for _, d := range s.spec.Linux.Devices {
		devices = append(devices, device{path: path.Clean("/" + d.Path)})
	}
	for _, d := range devices {
		m.add(d.path, d.path)
	}
	for _, p := range s.spec.Linux.MaskedPaths {
		m.add(p, "/dev/null")
	}
	m.add("/dev/null", "/dev/null") // what other runtimes call all masked paths
	return m.list, nil
}

// sourceOf is the place on the host of a mount that may be the host's own.
func (s *starting) sourceOf(m specs.Mount) string {
	switch {
	case isBind(m):
		return m.Source
	case m.Type == "proc":
		return "/proc"
	case m.Type == "sysfs":
		return "/sys"
	case m.Type == "mqueue":
		return "/dev/mqueue"
	case m.Type == "cgroup" || m.Type == "cgroup2":
		return s.cgroup.Paths()[""]
	}
	return ""
}

// mountSources collects criu's --external options for mounts.
type mountSources struct {
	host []*mountinfo.Info
	list []string
}

// add names the source of the mount at a place, and of those that came along
// because they were mounted below it.
func (m *mountSources) add(place, source string) {
	if place != "" {
		m.list = append(m.list, "mnt["+place+"]:"+source)
	}
	for _, h := range m.host {
		if rest, ok := strings.CutPrefix(h.Mountpoint, strings.TrimSuffix(source, "/")+"/"); ok && rest != "" {
			m.list = append(m.list, "mnt["+place+"/"+rest+"]:"+h.Mountpoint)
		}
	}
}

// covered tells whether a place lies in one of the mounts, and not in the root
// file system.
func covered(mounts []specs.Mount, place string) bool {
	for _, m := range mounts {
		if at := path.Clean("/" + m.Destination); at != "/" && within(place, at) {
			return true
		}
	}
	return false
}

// makePlace makes the place of a mount in a root file system that may be a
// fresh copy, and returns where it is without links.
func makePlace(root *os.File, place string, file bool) (string, error) {
	f, err := openOrMake(root, place, file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	top, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(root.Fd())))
	if err != nil {
		return "", err
	}
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return "", err
	}
	return "/" + strings.TrimPrefix(strings.TrimPrefix(at, top), "/"), nil
}

func openOrMake(root *os.File, place string, file bool) (*os.File, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: inRoot}
	fd, err := unix.Openat2(int(root.Fd()), place, how)
	if err == nil {
		return os.NewFile(uintptr(fd), place), nil
	}
	if err != unix.ENOENT || place == "/" {
		return nil, &os.PathError{Op: "open", Path: place, Err: err}
	}
	dir, err := openOrMake(root, filepath.Dir(place), false)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := filepath.Base(place)
	if file {
		var f *os.File
		if f, err = openIn(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL); err == nil {
			return f, nil
		}
		return nil, err
	}
	if err := unix.Mkdirat(int(dir.Fd()), name, 0o755); err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: place, Err: err}
	}
	if fd, err = unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return nil, &os.PathError{Op: "open", Path: place, Err: err}
	}
	return os.NewFile(uintptr(fd), place), nil
}
