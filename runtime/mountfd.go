package runtime

import (
	"fmt"
	"os"

	"loper.run/internal/userns"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// prepareMounts makes the mounts that are handed to the container, mapped to
// the ids of its user namespace (nil: none of its own).
func prepareMounts(spec *specs.Spec, set Settings, handovers []Handover, nodes []device, user *os.File) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	for _, h := range handovers {
		var f *os.File
		switch {
		case h.Mount >= 0:
			f, err = bindSource(spec, h.Mount, user)
		case h.Mount == handDevices:
			f, err = makeNodes(spec, nodes)
		case set.Overlay != nil:
			f, err = mountOverlay(set.Overlay, user)
		default:
			f, err = openTree(spec.Root.Path, unix.AT_RECURSIVE)
			if err != nil {
				err = badField("root.path", "%w", err)
			}
		}
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// openTree copies the mount at a path, detached from any mount namespace.
func openTree(path string, flags uint) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// bindSource copies the source of a bind mount and maps its ids when the spec
// asks for it.
func bindSource(spec *specs.Spec, index int, user *os.File) (*os.File, error) {
	m := spec.Mounts[index]
	field := fmt.Sprintf("mounts[%d].source", index)
	o := parseMountOptions(m)
	var flags uint
	if o.recursive {
		flags = unix.AT_RECURSIVE
	}
	f, err := openTree(m.Source, flags)
	if err != nil {
		return nil, badField(field, "%w", err)
	}
	if !o.idmap {
		return f, nil
	}
	mapper := user
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		if mapper, err = userNamespace(m.UIDMappings, m.GIDMappings); err != nil {
			f.Close()
			return nil, badField(field, "%w", err)
		}
		defer mapper.Close()
	}
	if mapper == nil {
		f.Close()
		return nil, badField(field, "an id-mapped mount without mappings needs a user namespace")
	}
	if err := mapIDs(f, mapper, o.recIDMap); err != nil {
		f.Close()
		return nil, badField(field, "%w", err)
	}
	return f, nil
}

// userNamespace makes a user namespace with the given ids and nothing in it.
// Its one process waits for as long as the caller needs the mappings written.
func userNamespace(uids, gids []specs.LinuxIDMapping) (*os.File, error) {
	p, err := startWaiting(unix.CLONE_NEWUSER)
	if err != nil {
		return nil, err
	}
	defer p.Abort()
	if err := userns.Write(p.Pid(), uids, gids); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid()))
}

// startWaiting starts a process in new namespaces that does nothing but wait
// to be ended.
func startWaiting(flags uintptr) (*launch.Process, error) {
	p := &launch.Program{Namespaces: flags}
	p.Await("wait", 0)
	return launch.Start(p, nil, nil)
}
