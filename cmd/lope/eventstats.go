package main

import (
	"math"
	"os"

	"loper.run/runtime/cgroup"
)

// eventStats are figures as runc's events have them, which is what programs
// read. Times are in nanoseconds, sizes in bytes.
type eventStats struct {
	CPU               eventCPU                `json:"cpu"`
	CPUSet            eventCPUSet             `json:"cpuset"`
	Memory            eventMemory             `json:"memory"`
	Pids              eventPids               `json:"pids"`
	IO                eventIO                 `json:"blkio"`
	Hugetlb           map[string]eventHugetlb `json:"hugetlb"`
	IntelRdt          struct{}                `json:"intel_rdt"`
	NetworkInterfaces []struct{}              `json:"network_interfaces"` // left to who made them
}

type eventCPU struct {
	Usage      eventCPUUsage   `json:"usage"`
	Throttling eventThrottling `json:"throttling"`
	Pressure   *eventPressure  `json:"psi,omitempty"`
}

type eventCPUUsage struct {
	Total        uint64   `json:"total,omitempty"`
	PerCPU       []uint64 `json:"percpu,omitempty"`
	PerCPUKernel []uint64 `json:"percpu_kernel,omitempty"`
	PerCPUUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type eventThrottling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

type eventCPUSet struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

type eventMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     eventUsage        `json:"usage"`
	Swap      eventUsage        `json:"swap"`
	Kernel    eventUsage        `json:"kernel"`
	KernelTCP eventUsage        `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	Pressure  *eventPressure    `json:"psi,omitempty"`
}

type eventUsage struct {
	Limit    uint64 `json:"limit"`
	Usage    uint64 `json:"usage,omitempty"`
	Peak     uint64 `json:"max,omitempty"`
	Failures uint64 `json:"failcnt"`
}

type eventPids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type eventIO struct {
	ServiceBytes []eventIOEntry `json:"ioServiceBytesRecursive,omitempty"`
	Serviced     []eventIOEntry `json:"ioServicedRecursive,omitempty"`
	Queued       []eventIOEntry `json:"ioQueueRecursive,omitempty"`
	ServiceTime  []eventIOEntry `json:"ioServiceTimeRecursive,omitempty"`
	WaitTime     []eventIOEntry `json:"ioWaitTimeRecursive,omitempty"`
	Merged       []eventIOEntry `json:"ioMergedRecursive,omitempty"`
	Time         []eventIOEntry `json:"ioTimeRecursive,omitempty"`
	Sectors      []eventIOEntry `json:"sectorsRecursive,omitempty"`
	Pressure     *eventPressure `json:"psi,omitempty"`
}

type eventIOEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type eventHugetlb struct {
	Usage    uint64 `json:"usage,omitempty"`
	Peak     uint64 `json:"max,omitempty"`
	Failures uint64 `json:"failcnt"`
}

type eventPressure struct {
	Some eventPressureLine `json:"some"`
	Full eventPressureLine `json:"full"`
}

type eventPressureLine struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

func statsOf(s *cgroup.Stats) *eventStats {
	m, c := s.Memory, s.CPU
	limit := limitOf(m)
	e := &eventStats{
		CPU: eventCPU{
			Usage:      eventCPUUsage{c.Total, c.PerCPU, c.PerCPUSystem, c.PerCPUUser, c.System, c.User},
			Throttling: eventThrottling{c.Periods, c.Throttled, c.ThrottledTime},
			Pressure:   pressure(c.Pressure),
		},
		CPUSet: eventCPUSet{
			s.CPUSet.CPUs, s.CPUSet.CPUExclusive, s.CPUSet.Mems, s.CPUSet.MemHardwall, s.CPUSet.MemExclusive, s.CPUSet.MemoryMigrate,
			s.CPUSet.MemorySpreadPage, s.CPUSet.MemorySpreadSlab, s.CPUSet.MemoryPressure, s.CPUSet.SchedLoadBalance, s.CPUSet.SchedRelaxDomainLevel,
		},
		Memory: eventMemory{
			Cache: m.Cache, Usage: limit(cgroup.MemoryUsage{Usage: m.Usage, Limit: m.Limit, Peak: m.Peak, Failures: m.Failures}),
			Swap: limit(m.Both), Kernel: limit(m.Kernel), KernelTCP: limit(m.KernelTCP), Raw: m.Raw, Pressure: pressure(m.Pressure),
		},
		Pids: eventPids{Current: s.Pids.Current},
		IO: eventIO{
			entries(s.IO.ServiceBytes), entries(s.IO.Serviced), entries(s.IO.Queued), entries(s.IO.ServiceTime),
			entries(s.IO.WaitTime), entries(s.IO.Merged), entries(s.IO.Time), entries(s.IO.Sectors), pressure(s.IO.Pressure),
		},
		Hugetlb: map[string]eventHugetlb{},
	}
	if s.Pids.Limit != cgroup.NoLimit {
		e.Pids.Limit = s.Pids.Limit
	}
	for size, h := range s.Hugetlb {
		e.Hugetlb[size] = eventHugetlb{h.Usage, h.Peak, h.Failures}
	}
	return e
}

// limitOf converts with 'no limit' as the kernel writes it: cgroup v1 has the
// highest number of whole pages, and v2 the word "max".
func limitOf(m cgroup.MemoryStats) func(cgroup.MemoryUsage) eventUsage {
	none := uint64(math.MaxUint64)
	if _, v1 := m.Raw["hierarchical_memory_limit"]; v1 {
		none = math.MaxInt64 &^ uint64(os.Getpagesize()-1)
	}
	return func(u cgroup.MemoryUsage) eventUsage {
		if u.Limit == cgroup.NoLimit {
			u.Limit = none
		}
		return eventUsage{u.Limit, u.Usage, u.Peak, u.Failures}
	}
}

func entries(list []cgroup.IOEntry) (all []eventIOEntry) {
	for _, e := range list {
		all = append(all, eventIOEntry(e))
	}
	return all
}

func pressure(p *cgroup.Pressure) *eventPressure {
	if p == nil {
		return nil
	}
	return &eventPressure{eventPressureLine(p.Some), eventPressureLine(p.Full)}
}
