package cgroup

import (
	"fmt"
	"strings"
)

// tick is one unit of cpuacct.stat in nanoseconds: USER_HZ is 100 on every Linux architecture that Go runs on.
const tick = 1e9 / 100

// OOMKills counts those of the group itself.
func (m *v1) OOMKills() (uint64, error) {
	g := m.find("memory")
	if g == nil {
		return 0, nil
	}
	text, err := g.read("memory.oom_control")
	if gone(err) {
		return 0, nil
	}
	return field(text, "oom_kill"), err
}

func (m *v1) Stats() (*Stats, error) {
	var s Stats
	s.Memory.Limit, s.Memory.SwapLimit, s.Pids.Limit = NoLimit, NoLimit, NoLimit
	for _, part := range []struct {
		controller string
		read       func(*Stats, *reader)
	}{
		{"cpuacct", cpuacctV1}, {"cpu", cpuStatV1}, {"cpuset", cpusetStat}, {"memory", memoryStatV1}, {"pids", pidsStat},
		{"blkio", blkioStatV1}, {"hugetlb", hugetlbStatV1}, {"rdma", rdmaStat},
	} {
		g := m.find(part.controller)
		if g == nil {
			continue
		}
		dir, err := g.openDir()
		if err != nil {
			return nil, fmt.Errorf("read statistics: %w", err)
		}
		get := reader{dir: dir}
		part.read(&s, &get)
		get.close()
		if get.err != nil {
			return nil, get.err
		}
	}
	return &s, nil
}

func cpuacctV1(s *Stats, get *reader) {
	s.CPU.Total = get.number("cpuacct.usage")
	split := get.text("cpuacct.stat")
	s.CPU.User = field(split, "user") * tick
	s.CPU.System = field(split, "system") * tick
	for n := range strings.FieldsSeq(get.text("cpuacct.usage_percpu")) {
		s.CPU.PerCPU = append(s.CPU.PerCPU, number(n))
	}
	for line := range strings.Lines(get.text("cpuacct.usage_all")) { // 'cpu user system' and a line for each
		if f := strings.Fields(line); len(f) == 3 && f[0] != "cpu" {
			s.CPU.PerCPUUser = append(s.CPU.PerCPUUser, number(f[1]))
			s.CPU.PerCPUSystem = append(s.CPU.PerCPUSystem, number(f[2]))
		}
	}
}

func cpuStatV1(s *Stats, get *reader) {
	text := get.text("cpu.stat")
	s.CPU.Periods = field(text, "nr_periods")
	s.CPU.Throttled = field(text, "nr_throttled")
	s.CPU.ThrottledTime = field(text, "throttled_time")
	s.CPU.Bursts = field(text, "nr_bursts")
	s.CPU.BurstTime = field(text, "burst_time")
}

// cpusetStat serves v2 too, which has the first two files alone.
func cpusetStat(s *Stats, get *reader) {
	c := &s.CPUSet
	c.CPUs, c.Mems = numberList(get.text("cpuset.cpus")), numberList(get.text("cpuset.mems"))
	for _, one := range []struct {
		file string
		to   *uint64
	}{
		{"cpu_exclusive", &c.CPUExclusive}, {"mem_hardwall", &c.MemHardwall}, {"mem_exclusive", &c.MemExclusive},
		{"memory_migrate", &c.MemoryMigrate}, {"memory_spread_page", &c.MemorySpreadPage},
		{"memory_spread_slab", &c.MemorySpreadSlab}, {"memory_pressure", &c.MemoryPressure},
		{"sched_load_balance", &c.SchedLoadBalance},
	} {
		*one.to = get.number("cpuset." + one.file)
	}
	_, _ = fmt.Sscan(get.text("cpuset.sched_relax_domain_level"), &c.SchedRelaxDomainLevel) // stays 0 without the file
}

func memoryStatV1(s *Stats, get *reader) {
	text := get.text("memory.stat")
	m := &s.Memory
	all := get.usage("memory")
	m.Usage, m.Limit, m.Peak, m.Failures = all.Usage, all.Limit, all.Peak, all.Failures
	m.Raw = fields(text)
	m.Cache = m.Raw["total_cache"]
	m.InactiveFile = m.Raw["total_inactive_file"]
	m.Anon = m.Raw["total_rss"]
	m.WorkingSet = minus(m.Usage, m.InactiveFile)
	m.Swap = m.Raw["total_swap"]
	m.Kernel, m.KernelTCP = get.usage("memory.kmem"), get.usage("memory.kmem.tcp")
	if m.Both = get.usage("memory.memsw"); m.Both.Limit != 0 {
		m.SwapLimit = m.Both.Limit
		if m.SwapLimit != NoLimit {
			m.SwapLimit = minus(m.SwapLimit, m.Limit)
		}
	}
	s.OOMKills = field(get.text("memory.oom_control"), "oom_kill")
}

func pidsStat(s *Stats, get *reader) {
	s.Pids.Current = get.number("pids.current")
	s.Pids.Limit = get.limit("pids.max")
}

// blkioStatV1 reads the files of the BFQ scheduler if they count, else those of throttling, which sees all requests
// but not everything about them.
func blkioStatV1(s *Stats, get *reader) {
	prefix := "blkio.bfq."
	if len(ioTable(get.text("blkio.bfq.io_serviced_recursive"))) == 0 {
		prefix = "blkio.throttle."
	}
	for _, t := range []struct {
		file string
		to   *[]IOEntry
	}{
		{"io_service_bytes_recursive", &s.IO.ServiceBytes}, {"io_serviced_recursive", &s.IO.Serviced},
		{"io_queued_recursive", &s.IO.Queued}, {"io_service_time_recursive", &s.IO.ServiceTime},
		{"io_wait_time_recursive", &s.IO.WaitTime}, {"io_merged_recursive", &s.IO.Merged},
		{"time_recursive", &s.IO.Time}, {"sectors_recursive", &s.IO.Sectors},
	} {
		*t.to = ioTable(get.text(prefix + t.file))
	}
	s.IO.Read, s.IO.Written = sum(s.IO.ServiceBytes, "Read"), sum(s.IO.ServiceBytes, "Write")
	s.IO.Reads, s.IO.Writes = sum(s.IO.Serviced, "Read"), sum(s.IO.Serviced, "Write")
}

func hugetlbStatV1(s *Stats, get *reader) {
	hugetlbStat(s, get, "limit_in_bytes", func(h *HugetlbStats, file string) {
		h.Usage, h.Peak = get.number(file+"usage_in_bytes"), get.number(file+"max_usage_in_bytes")
		h.Limit, h.Failures = pageLimit(get.number(file+"limit_in_bytes")), get.number(file+"failcnt")
		h.RsvdUsage, h.RsvdLimit = get.number(file+"rsvd.usage_in_bytes"), pageLimit(get.limit(file+"rsvd.limit_in_bytes"))
	})
}

// pageLimit recognises v1's 'no limit', the highest multiple of the page size that fits.
func pageLimit(n uint64) uint64 {
	if n >= 1<<62 {
		return NoLimit
	}
	return n
}
