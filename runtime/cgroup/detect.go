package cgroup

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountRoot is where every distribution mounts the hierarchies.
const mountRoot = "/sys/fs/cgroup"

// Detect asks the kernel which mode this process can use. It is V1 or V2 only where groups can really be made.
func Detect() Mode { return detect(mountRoot) }

func detect(root string) Mode {
	switch fsType(root) {
	case unix.CGROUP2_SUPER_MAGIC:
		if _, err := baseV2(root); err == nil {
			return V2
		}
	case unix.TMPFS_MAGIC:
		for _, name := range known {
			dir := filepath.Join(root, name)
			if fsType(dir) == unix.CGROUP_SUPER_MAGIC && writable(dir) {
				return V1
			}
		}
	}
	return None
}

// hierarchy is one mounted cgroup v1 hierarchy, or the cgroup2 one beside them.
type hierarchy struct {
	root        string   // directory of its mount
	controllers []string // names that Paths uses; for the cgroup2 one, ""
}

// known lists the v1 controllers in the order in which their groups are made, by the name of their directory.
// Controllers mounted together (cpu,cpuacct) have a link for each of them.
var known = [...]string{"memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio",
	"hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc", "systemd", "unified"}

// hierarchies finds what is mounted below root by asking each known name for its file system: two cheap calls a name,
// where parsing mountinfo costs more than all of them on a host with many containers.
func hierarchies(root string) []hierarchy {
	all := make([]hierarchy, 0, len(known))
next:
	for _, name := range known {
		dir := filepath.Join(root, name)
		want := int64(unix.CGROUP_SUPER_MAGIC)
		key := name
		switch name {
		case "systemd":
			key = "name=systemd"
		case "unified":
			key, want = "", unix.CGROUP2_SUPER_MAGIC
		}
		if fsType(dir) != want {
			continue
		}
		switch name {
		case "cpu", "cpuacct", "net_cls", "net_prio": // the ones that are mounted together
			if target, err := os.Readlink(dir); err == nil {
				dir = filepath.Join(root, filepath.Base(target))
			}
		}
		for i := range all {
			if all[i].root == dir {
				all[i].controllers = append(all[i].controllers, key)
				continue next
			}
		}
		all = append(all, hierarchy{root: dir, controllers: []string{key}})
	}
	return all
}

func fsType(path string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0
	}
	return int64(st.Type)
}

// writable reports whether a group can be made in dir: permission, and no read-only mount.
func writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS) == nil
}
