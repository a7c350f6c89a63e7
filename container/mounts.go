package container

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const defaultShm = 64 << 20 // bytes

// mounts are the container's file systems: the kernel's first, then the
// generated files of /etc, then the caller's, parents before children. What
// the caller puts on a target replaces what the engine would have put there.
func (r *Record) mounts(f *facts) ([]specs.Mount, error) {
	list := r.kernelMounts(f)
	if r.Builtin == "host" {
		list = append(list, hostMounts(f)...)
	}
	for _, name := range []string{resolvFile, hostnameFile, hostsFile} {
		if slices.Contains(f.noEtc, name) {
			continue
		}
		list = append(list, specs.Mount{
			Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(f.dir, name),
			Options: []string{"bind", "rprivate"},
		})
	}
	if r.Settings.Init {
		list = append(list, specs.Mount{
			Destination: initTarget, Type: "bind", Source: f.init, Options: []string{"bind", "ro", "rprivate", "nosuid"},
		})
	}
	var asked []specs.Mount
	for _, m := range r.Mounts {
		mount, err := r.mount(m, f)
		if err != nil {
			return nil, err
		}
		asked = append(asked, mount)
	}
	for _, target := range slices.Sorted(maps.Keys(r.Settings.Tmpfs)) {
		mount, err := tmpfs(target, r.Settings.Tmpfs[target])
		if err != nil {
			return nil, err
		}
		asked = append(asked, mount)
	}
	slices.SortStableFunc(asked, func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/"))
	})
	list = slices.DeleteFunc(list, func(own specs.Mount) bool {
		return slices.ContainsFunc(asked, func(m specs.Mount) bool { return m.Destination == own.Destination })
	})
	return append(list, asked...), nil
}

// kernelMounts are the file systems that show the container's namespaces. A
// namespace that is not the container's own cannot be mounted from its user
// namespace: there the host's mount is bound, read-only to its last submount.
func (r *Record) kernelMounts(f *facts) []specs.Mount {
	s := &r.Settings
	access := "ro"
	if s.Privileged {
		access = "rw"
	}
	proc := specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}}
	if s.PidMode == "host" && f.ownUserns() {
		proc = specs.Mount{Destination: "/proc", Type: "bind", Source: "/proc", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}}
	}
	pts := specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
		Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}}
	if len(f.gids) == 0 || isMapped(5, f.gids) {
		pts.Options = append(pts.Options, "gid=5")
	}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}}
	if (s.Network == "host" || strings.HasPrefix(s.Network, "ns:")) && f.ownUserns() {
		sys = specs.Mount{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro", "rro"}}
	}
	cgroup := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", access}}
	if s.CgroupnsMode == "host" && f.ownUserns() {
		cgroup = specs.Mount{Destination: "/sys/fs/cgroup", Type: "bind", Source: "/sys/fs/cgroup",
			Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev", "ro", "rro"}}
	}
	shmSize := cmp.Or(s.ShmSize, defaultShm)
	shm := specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
		Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shmSize, 10)}}
	list := []specs.Mount{
		proc,
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		pts,
		sys,
		cgroup,
	}
	switch {
	case s.IpcMode == "host":
		for _, dir := range f.ipcDirs {
			list = append(list, specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"}})
		}
	case s.IpcMode == "none":
	default:
		list = append(list, specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}}, shm)
	}
	return list
}

// mount is one of the caller's.
func (r *Record) mount(m Mount, f *facts) (specs.Mount, error) {
	if m.Type == MountTmpfs {
		options := slices.Clone(m.Options)
		if m.ReadOnly {
			options = append(options, "ro")
		}
		if m.TmpfsSize != 0 {
			options = append(options, "size="+strconv.FormatInt(m.TmpfsSize, 10))
		}
		if m.TmpfsMode != 0 {
			options = append(options, fmt.Sprintf("mode=%o", m.TmpfsMode))
		}
		return tmpfs(m.Target, strings.Join(options, ","))
	}
	mount := specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source}
	bind, idmap := "rbind", "ridmap"
	if f.mixed[m.Source] {
		idmap = "idmap"
	}
	if m.NoRecursive {
		bind, idmap = "bind", "idmap"
	}
	if m.Type == MountVolume {
		mount.Source, bind, idmap = filepath.Join(f.volumes, m.Source, volumeData), "bind", "idmap"
	}
	mount.Options = append([]string{bind, cmp.Or(m.Propagation, "rprivate")}, m.Options...)
	if m.ReadOnly {
		mount.Options = append(mount.Options, "ro")
		if bind == "rbind" {
			mount.Options = append(mount.Options, "rro")
		}
	}
	if f.idMapped() && !m.NoIDMap {
		mount.Options = append(mount.Options, idmap)
	}
	return mount, nil
}

// tmpfs is one --tmpfs with its options by comma.
func tmpfs(target, options string) (specs.Mount, error) {
	mount := specs.Mount{Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "noexec"}}
	var err error
	if mount.Destination, err = mountTarget(target); err != nil {
		return mount, fmt.Errorf("invalid tmpfs: %w", err)
	}
	for _, o := range strings.Split(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "":
		case "exec", "suid", "dev":
			mount.Options = slices.DeleteFunc(mount.Options, func(have string) bool { return have == "no"+o })
		case "noexec", "nosuid", "nodev", "ro", "rw", "noatime", "nodiratime", "relatime", "strictatime", "sync", "dirsync", "mode", "uid", "gid", "nr_inodes", "nr_blocks":
			if !slices.Contains(mount.Options, o) {
				mount.Options = append(mount.Options, o)
			}
		case "size":
			if n, err := units.RAMInBytes(value); err == nil {
				o = "size=" + strconv.FormatInt(n, 10)
			} else if !strings.HasSuffix(value, "%") {
				return mount, fmt.Errorf("invalid tmpfs %s: size %q", target, value)
			}
			mount.Options = append(mount.Options, o)
		default:
			return mount, fmt.Errorf("invalid tmpfs %s: unknown option %q", target, o)
		}
	}
	return mount, nil
}
