package runtime

import (
	"os"
	goruntime "runtime"

	"loper.run/internal/userns"
	"loper.run/runtime/cgroup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// lookAtHost gathers what the compile needs to know of this machine.
func lookAtHost(spec *specs.Spec, p *specs.Process) Host {
	h := Host{
		OverlayByNames: overlayByNames.Load(),
		Privileged:     userns.Privileged(),
		Arch:           goruntime.GOARCH,
		IsFile: func(path string) bool {
			st, err := os.Stat(path)
			return err == nil && !st.IsDir()
		},
	}
	if p != nil && p.ApparmorProfile != "" {
		on, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled") // not there without AppArmor
		h.AppArmor = len(on) > 0 && on[0] == 'Y'
	}
	if spec.Linux.MountLabel != "" || p != nil && p.SelinuxLabel != "" {
		_, err := os.Stat("/sys/fs/selinux/enforce")
		h.SELinux = err == nil
	}
	var caps [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]) == nil {
		h.Capabilities = uint64(caps[0].Permitted) | uint64(caps[1].Permitted)<<32
	}
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur == files.Max-1 {
		h.Files = files.Max // package syscall did that
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
