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
	}{{"cpuacct", cpuacctV1}, {"cpu", cpuStatV1}, {"memory", memoryStatV1}, {"pids", pidsStatV1}, {"blkio", blkioStatV1}} {
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
	s.CPU.Total = number(get.text("cpuacct.usage"))
	split := get.text("cpuacct.stat")
	s.CPU.User = field(split, "user") * tick
	s.CPU.System = field(split, "system") * tick
}

func cpuStatV1(s *Stats, get *reader) {
	text := get.text("cpu.stat")
	s.CPU.Periods = field(text, "nr_periods")
	s.CPU.Throttled = field(text, "nr_throttled")
	s.CPU.ThrottledTime = field(text, "throttled_time")
}

func memoryStatV1(s *Stats, get *reader) {
	text := get.text("memory.stat")
	s.Memory.Usage = number(get.text("memory.usage_in_bytes"))
	s.Memory.Limit = pageLimit(number(get.text("memory.limit_in_bytes")))
	s.Memory.Peak = number(get.text("memory.max_usage_in_bytes"))
	s.Memory.Cache = field(text, "total_cache")
	s.Memory.InactiveFile = field(text, "total_inactive_file")
	s.Memory.Anon = field(text, "total_rss")
	s.Memory.WorkingSet = minus(s.Memory.Usage, s.Memory.InactiveFile)
	s.Memory.Swap = field(text, "total_swap")
	if both := get.text("memory.memsw.limit_in_bytes"); both != "" {
		s.Memory.SwapLimit = pageLimit(number(both))
		if s.Memory.SwapLimit != NoLimit {
			s.Memory.SwapLimit = minus(s.Memory.SwapLimit, s.Memory.Limit)
		}
	}
	s.OOMKills = field(get.text("memory.oom_control"), "oom_kill")
}

func pidsStatV1(s *Stats, get *reader) {
	s.Pids.Current = number(get.text("pids.current"))
	s.Pids.Limit = get.limit("pids.max")
}

// blkioStatV1 adds up lines of the form '8:0 Read 512', which every I/O policy has in a file of its own; the throttling
// one sees all requests.
func blkioStatV1(s *Stats, get *reader) {
	add := func(text string, read, write *uint64) {
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			switch {
			case len(f) != 3:
			case f[1] == "Read":
				*read += number(f[2])
			case f[1] == "Write":
				*write += number(f[2])
			}
		}
	}
	add(get.text("blkio.throttle.io_service_bytes_recursive"), &s.IO.Read, &s.IO.Written)
	add(get.text("blkio.throttle.io_serviced_recursive"), &s.IO.Reads, &s.IO.Writes)
}

// pageLimit recognises v1's 'no limit', the highest multiple of the page size that fits.
func pageLimit(n uint64) uint64 {
	if n >= 1<<62 {
		return NoLimit
	}
	return n
}
