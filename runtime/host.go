package runtime

import (
	"os"
	goruntime "runtime"
	"strings"

	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// lookAtHost gathers what the compile needs to know of this machine.
func lookAtHost(spec *specs.Spec) Host {
	h := Host{
		Privileged: privileged(),
		Arch:       goruntime.GOARCH,
		IsFile: func(path string) bool {
			st, err := os.Stat(path)
			return err == nil && !st.IsDir()
		},
	}
	h.SetgroupsDenied = !h.Privileged && len(spec.Linux.GIDMappings) == 1 && spec.Linux.GIDMappings[0].Size == 1
	if mountsCgroups(spec) {
		h.Cgroup2 = cgroup.Detect() == cgroup.V2
		if !h.Cgroup2 {
			h.Cgroup1 = hierarchies()
		}
	}
	return h
}

func mountsCgroups(spec *specs.Spec) bool {
	for _, m := range spec.Mounts {
		if m.Type == "cgroup" {
			return true
		}
	}
	return false
}

// privileged tells whether this process may mount file systems on the host:
// it has CAP_SYS_ADMIN and is root there, not in a user namespace.
func privileged() bool {
	if os.Geteuid() != 0 {
		return false
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	return initialUserNamespace()
}

// initialUserNamespace: the initial user namespace is the one whose map is the
// identity over all ids.
func initialUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true
	}
	fields := strings.Fields(string(b))
	return len(fields) == 3 && fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295"
}

// hierarchies lists the cgroup v1 hierarchies below /sys/fs/cgroup. A
// directory may be a link (cpu -> cpu,cpuacct).
func hierarchies() []Hierarchy {
	var list []Hierarchy
	for _, name := range []string{"cpu,cpuacct", "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls,net_prio", "net_cls", "net_prio", "perf_event", "hugetlb", "rdma", "misc", "systemd"} {
		var st unix.Stat_t
		dir := "/sys/fs/cgroup/" + name
		if unix.Lstat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) != nil || fs.Type != unix.CGROUP_SUPER_MAGIC {
			continue
		}
		option := name
		if name == "systemd" {
			option = "name=systemd"
		}
		list = append(list, Hierarchy{Name: name, Option: option})
	}
	return list
}
