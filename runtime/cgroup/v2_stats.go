package cgroup

import (
	"fmt"
	"strings"
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
	get := reader{dir: dir}
	defer get.close()
	var s Stats
	cpu := get.text("cpu.stat")
	s.CPU.Total = field(cpu, "usage_usec") * 1000
	s.CPU.User = field(cpu, "user_usec") * 1000
	s.CPU.System = field(cpu, "system_usec") * 1000
	s.CPU.Periods = field(cpu, "nr_periods")
	s.CPU.Throttled = field(cpu, "nr_throttled")
	s.CPU.ThrottledTime = field(cpu, "throttled_usec") * 1000

	memory := get.text("memory.stat")
	s.Memory.Usage = number(get.text("memory.current"))
	s.Memory.Limit = get.limit("memory.max")
	s.Memory.Peak = number(get.text("memory.peak"))
	s.Memory.Cache = field(memory, "file")
	s.Memory.InactiveFile = field(memory, "inactive_file")
	s.Memory.Anon = field(memory, "anon")
	s.Memory.WorkingSet = minus(s.Memory.Usage, s.Memory.InactiveFile)
	s.Memory.Swap = number(get.text("memory.swap.current"))
	s.Memory.SwapLimit = get.limit("memory.swap.max")
	s.OOMKills = field(get.text("memory.events"), "oom_kill")

	s.Pids.Current = number(get.text("pids.current"))
	s.Pids.Limit = get.limit("pids.max")
	ioStat(&s, get.text("io.stat"))
	return &s, get.err
}

// ioStat adds up lines of the form '8:0 rbytes=1 wbytes=2 rios=3 wios=4'.
func ioStat(s *Stats, text string) {
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "rbytes":
			s.IO.Read += number(value)
		case "wbytes":
			s.IO.Written += number(value)
		case "rios":
			s.IO.Reads += number(value)
		case "wios":
			s.IO.Writes += number(value)
		}
	}
}
