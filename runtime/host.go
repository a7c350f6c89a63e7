package runtime

import (
	"os"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"loper.run/internal/userns"
	"loper.run/runtime/cgroup"

	"github.com/moby/sys/mountinfo"
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
		Below: mountsBelow,
		IsDevice: func(path string, kind, major, minor uint32) bool {
			var st unix.Stat_t
			return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == kind && unix.Major(uint64(st.Rdev)) == major && unix.Minor(uint64(st.Rdev)) == minor
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
	return h
}

// lookAtCgroups adds what mounting cgroups takes: where the container's own
// ones are, if they are made, tells the hierarchies too.
func (h *Host) lookAtCgroups(spec *specs.Spec, groups map[string]string) {
	if !mountsCgroups(spec) {
		return
	}
	h.Groups = make(map[string]string, len(groups))
	for controller, dir := range groups {
		if controller == "" { // on v1: beside the others, for the runtime's own use
			h.Groups[""] = dir
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(dir, "/sys/fs/cgroup/"), "/")
		h.Groups[name] = dir
		switch name {
		case "systemd":
			h.Cgroup1 = append(h.Cgroup1, Hierarchy{name, "name=systemd"})
		default:
			h.Cgroup1 = append(h.Cgroup1, Hierarchy{name, name})
		}
	}
	slices.SortFunc(h.Cgroup1, func(a, b Hierarchy) int { return strings.Compare(a.Name, b.Name) })
	h.Cgroup1 = slices.Compact(h.Cgroup1)
	_, unified := groups[""]
	switch {
	case unified && len(groups) == 1, len(groups) == 0 && cgroup.Detect() == cgroup.V2:
		h.Cgroup1, h.Cgroup2 = nil, true
	case len(groups) == 0:
		h.Cgroup1 = hierarchies()
	}
}

func mountsCgroups(spec *specs.Spec) bool {
	for _, m := range spec.Mounts {
		if m.Type == "cgroup" || m.Type == "cgroup2" {
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

// mountsBelow lists what is mounted below a directory, by names that begin
// there.
func mountsBelow(dir string) (names []string) {
	f, err := os.OpenFile(dir, unix.O_PATH, 0)
	if err != nil {
		return nil // whoever mounts it says why
	}
	defer f.Close()
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return nil
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint == at || !within(m.Mountpoint, at), false
	})
	if err != nil {
		return nil
	}
	for _, m := range mounts {
		names = append(names, strings.TrimPrefix(strings.TrimPrefix(m.Mountpoint, at), "/"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
