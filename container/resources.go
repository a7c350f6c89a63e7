package container

import (
	"errors"
	"fmt"
	"math"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	defaultPids = 4096 // stops a fork bomb, and is more than a service needs
	cpuPeriod   = 100_000
	minMemory   = 6 << 20 // bytes; with less the kernel kills what starts
)

// resources are the limits, and where the cgroup lies.
func (r *Record) resources(s *specs.Spec, f *facts) error {
	l := &r.Settings.Resources
	res := &specs.LinuxResources{}
	if err := l.memory(res, f); err != nil {
		return err
	}
	if err := l.cpu(res); err != nil {
		return err
	}
	if l.BlkioWeight != 0 {
		if l.BlkioWeight < 10 || l.BlkioWeight > 1000 {
			return fmt.Errorf("invalid block io weight %d: 10 to 1000 are allowed", l.BlkioWeight)
		}
		res.BlockIO = &specs.LinuxBlockIO{Weight: &l.BlkioWeight}
	}
	switch {
	case l.PidsLimit > 0:
		res.Pids = &specs.LinuxPids{Limit: &l.PidsLimit}
	case l.PidsLimit == 0 && f.cgroups.usable:
		res.Pids = &specs.LinuxPids{Limit: pointer(int64(defaultPids))}
	}
	if f.cgroups.usable {
		res.Devices = r.deviceRules(f)
	}
	s.Linux.Resources = res
	s.Linux.CgroupsPath = cgroupsPath(r.Settings.CgroupParent, r.ID, f)
	return nil
}

func (l *Resources) memory(res *specs.LinuxResources, f *facts) error {
	switch {
	case l.Memory < 0 || l.MemoryReservation < 0 || l.MemorySwap < -1:
		return errors.New("invalid memory limit: it is negative")
	case l.Memory > 0 && l.Memory < minMemory:
		return fmt.Errorf("invalid memory limit %d: at least 6 MiB are needed", l.Memory)
	case l.MemorySwap > 0 && l.Memory == 0:
		return errors.New("invalid memory-swap: it needs a memory limit too")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return errors.New("invalid memory-swap: it is memory and swap together, so not less than memory")
	case l.MemoryReservation > l.Memory && l.Memory > 0:
		return errors.New("invalid memory reservation: it is above the memory limit")
	case l.MemorySwappiness != nil && (*l.MemorySwappiness < 0 || *l.MemorySwappiness > 100):
		return fmt.Errorf("invalid memory swappiness %d: 0 to 100 are allowed", *l.MemorySwappiness)
	}
	m := &specs.LinuxMemory{}
	if l.Memory > 0 {
		m.Limit = &l.Memory
	}
	switch {
	case l.MemorySwap != 0:
		m.Swap = &l.MemorySwap
	case l.Memory > 0 && l.Memory <= math.MaxInt64/2 && f.cgroups.swap:
		m.Swap = pointer(2 * l.Memory)
	}
	if l.MemoryReservation > 0 {
		m.Reservation = &l.MemoryReservation
	}
	if l.MemorySwappiness != nil {
		m.Swappiness = pointer(uint64(*l.MemorySwappiness))
	}
	if l.OomKillDisable {
		m.DisableOOMKiller = &l.OomKillDisable
	}
	if *m != (specs.LinuxMemory{}) {
		res.Memory = m
	}
	return nil
}

func (l *Resources) cpu(res *specs.LinuxResources) error {
	c := &specs.LinuxCPU{Cpus: l.CpusetCpus, Mems: l.CpusetMems}
	switch {
	case l.NanoCPUs < 0:
		return errors.New("invalid number of CPUs: it is negative")
	case l.NanoCPUs > 0 && (l.CPUPeriod != 0 || l.CPUQuota != 0):
		return errors.New("cpus excludes cpu-period and cpu-quota: it is both in one")
	case l.NanoCPUs > 0:
		c.Period = pointer(uint64(cpuPeriod))
		c.Quota = pointer(max(1000, l.NanoCPUs*cpuPeriod/1e9)) // 1 ms is the kernel's least
	}
	if l.CPUPeriod != 0 {
		if l.CPUPeriod < 1000 || l.CPUPeriod > 1_000_000 {
			return fmt.Errorf("invalid CPU period %d: 1000 to 1000000 microseconds are allowed", l.CPUPeriod)
		}
		c.Period = pointer(uint64(l.CPUPeriod))
	}
	if l.CPUQuota != 0 {
		if l.CPUQuota > 0 && l.CPUQuota < 1000 {
			return fmt.Errorf("invalid CPU quota %d: at least 1000 microseconds are needed", l.CPUQuota)
		}
		c.Quota = &l.CPUQuota
	}
	if l.CPUShares != 0 {
		c.Shares = pointer(min(max(l.CPUShares, 2), 262144))
	}
	for _, set := range []string{l.CpusetCpus, l.CpusetMems} {
		for _, b := range []byte(set) {
			if (b < '0' || b > '9') && b != ',' && b != '-' {
				return fmt.Errorf("invalid CPU set %q: want numbers and ranges, 0-2,5", set)
			}
		}
	}
	if *c != (specs.LinuxCPU{}) {
		res.CPU = c
	}
	return nil
}

// cgroupsPath is where the container's cgroup lies; "" leaves it to the
// runtime, which knows where an ordinary user may make one.
func cgroupsPath(parent, id string, f *facts) string {
	switch {
	case parent != "":
		return path.Join("/", parent, id)
	case f.rootless:
		return ""
	}
	// Beside the others and not below one directory for all, which would be
	// left behind when the last container goes.
	return "/loper-" + id
}

func pointer[T any](v T) *T { return &v }
