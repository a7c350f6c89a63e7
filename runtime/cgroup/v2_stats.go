package cgroup

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// OOMKills counts kills below the group too, as memory.events does.
func (m *v2) OOMKills() (uint64, error) {
	text, err := m.read("memory.events")
	if gone(err) {
		return 0, nil
	}
	return field(text, "oom_kill"), err
}

func (m *v2) Stats() (*Stats, error) {
	dir, err := m.openDir()
	if err != nil {
		return nil, fmt.Errorf("read statistics: %w", err)
	}
	get := &reader{dir: dir}
	defer get.close()
	var s Stats
	cpuStatV2(&s, get)
	cpusetStat(&s, get)
	memoryStatV2(&s, get)
	pidsStat(&s, get)
	ioStat(&s, get.text("io.stat"))
	s.IO.Pressure = pressure(get.text("io.pressure"))
	hugetlbStat(&s, get, "max", func(h *HugetlbStats, file string) {
		h.Usage, h.Limit = get.number(file+"current"), get.limit(file+"max")
		h.Failures = field(get.text(file+"events"), "max")
		h.RsvdUsage, h.RsvdLimit = get.number(file+"rsvd.current"), get.limit(file+"rsvd.max")
	})
	rdmaStat(&s, get)
	return &s, get.err
}

func cpuStatV2(s *Stats, get *reader) {
	text := get.text("cpu.stat")
	const micro = 1000
	s.CPU.Total = field(text, "usage_usec") * micro
	s.CPU.User = field(text, "user_usec") * micro
	s.CPU.System = field(text, "system_usec") * micro
	s.CPU.Periods = field(text, "nr_periods")
	s.CPU.Throttled = field(text, "nr_throttled")
	s.CPU.ThrottledTime = field(text, "throttled_usec") * micro
	s.CPU.Bursts = field(text, "nr_bursts")
	s.CPU.BurstTime = field(text, "burst_usec") * micro
	s.CPU.Pressure = pressure(get.text("cpu.pressure"))
}

func memoryStatV2(s *Stats, get *reader) {
	m := &s.Memory
	m.Raw = fields(get.text("memory.stat"))
	m.Events = fields(get.text("memory.events"))
	m.Usage, m.Limit, m.Peak = get.number("memory.current"), get.limit("memory.max"), get.number("memory.peak")
	m.Failures = m.Events["max"]
	m.Cache = m.Raw["file"]
	m.InactiveFile = m.Raw["inactive_file"]
	m.Anon = m.Raw["anon"]
	m.WorkingSet = minus(m.Usage, m.InactiveFile)
	m.Swap, m.SwapLimit = get.number("memory.swap.current"), get.limit("memory.swap.max")
	m.Both = MemoryUsage{Usage: m.Usage + m.Swap, Limit: plus(m.Limit, m.SwapLimit)}
	m.Pressure = pressure(get.text("memory.pressure"))
	s.OOMKills = m.Events["oom_kill"]
}

// ioStat reads lines of the form '8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6' into sums and into the tables
// that v1 has.
func ioStat(s *Stats, text string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		device, ok := ioDevice(words[0])
		if !ok {
			continue
		}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			e := device
			e.Value = number(value)
			switch key {
			case "rbytes", "rios":
				e.Op = "Read"
			case "wbytes", "wios":
				e.Op = "Write"
			case "dbytes", "dios":
				e.Op = "Discard"
			}
			switch {
			case e.Op == "":
			case strings.HasSuffix(key, "bytes"):
				s.IO.ServiceBytes = append(s.IO.ServiceBytes, e)
			default:
				s.IO.Serviced = append(s.IO.Serviced, e)
			}
		}
	}
	s.IO.Read, s.IO.Written = sum(s.IO.ServiceBytes, "Read"), sum(s.IO.ServiceBytes, "Write")
	s.IO.Reads, s.IO.Writes = sum(s.IO.Serviced, "Read"), sum(s.IO.Serviced, "Write")
}

// hugetlbStat finds the page sizes by a file that each has, and calls read for each.
func hugetlbStat(s *Stats, get *reader, file string, read func(h *HugetlbStats, file string)) {
	list, err := openIn(get.dir, "", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return
	}
	names, err := entries(list)
	if err != nil {
		return
	}
	for _, size := range pageSizes(names, "."+file) {
		var h HugetlbStats
		read(&h, "hugetlb."+size+".")
		if s.Hugetlb == nil {
			s.Hugetlb = make(map[string]HugetlbStats)
		}
		s.Hugetlb[size] = h
	}
}

func rdmaStat(s *Stats, get *reader) {
	if text := get.text("rdma.current"); text != "" {
		s.Rdma = rdmaStats(text, get.text("rdma.max"))
	}
}
