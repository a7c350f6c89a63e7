package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitsV2 says which v2 file gets which value. current reads a file of the group as it is ("" when there is none):
// some v1 notions that the specification speaks of are two halves of one file here.
func limitsV2(r *specs.LinuxResources, current func(file string) string) (list, error) {
	var l list
	if r == nil {
		return nil, nil
	}
	if r.Memory != nil {
		if err := memoryV2(&l, r.Memory, current); err != nil {
			return nil, err
		}
	}
	if r.CPU != nil {
		cpuV2(&l, r.CPU, current)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		l.addLimit("pids.limit", "pids", "pids.max", *r.Pids.Limit, "max")
	}
	if r.BlockIO != nil {
		if err := ioV2(&l, r.BlockIO); err != nil {
			return nil, err
		}
	}
	for i, h := range r.HugepageLimits {
		field := fmt.Sprintf("hugepageLimits[%d]", i)
		if err := checkPageSize(h.Pagesize); err != nil {
			return nil, &LimitError{"linux.resources." + field + ".pageSize", err}
		}
		v := strconv.FormatUint(h.Limit, 10)
		l.add(field, "hugetlb", "hugetlb."+h.Pagesize+".max", v)
		l.add(field, "hugetlb", "hugetlb."+h.Pagesize+".rsvd.max", v).lifts = true // since Linux 5.7
	}
	if n := r.Network; n != nil && (n.ClassID != nil && *n.ClassID != 0 || len(n.Priorities) > 0) {
		return nil, &LimitError{"linux.resources.network", errors.New("cgroup v2 has no net_cls and net_prio")}
	}
	if err := rdmaLimits(&l, r.Rdma); err != nil {
		return nil, err
	}
	err := unifiedV2(&l, r.Unified) // last: it may override what was derived
	return l, err
}

func memoryV2(l *list, m *specs.LinuxMemory, current func(string) string) error {
	if m.Swappiness != nil {
		return &LimitError{"linux.resources.memory.swappiness", errors.New("cgroup v2 has no swappiness")}
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		return &LimitError{"linux.resources.memory.disableOOMKiller", errors.New("cgroup v2 cannot disable the out-of-memory killer")}
	}
	if m.KernelTCP != nil && *m.KernelTCP != 0 {
		return &LimitError{"linux.resources.memory.kernelTCP", errors.New("cgroup v2 has no limit for TCP buffers")}
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if m.CheckBeforeUpdate != nil && *m.CheckBeforeUpdate && limit > 0 {
		if used, err := strconv.ParseInt(strings.TrimSpace(current("memory.current")), 10, 64); err == nil && used > limit {
			return &LimitError{"linux.resources.memory.limit", fmt.Errorf("%d bytes are less than the %d in use", limit, used)}
		}
	}
	if limit != 0 {
		l.addLimit("memory.limit", "memory", "memory.max", limit, "max")
	}
	if swap == 0 && limit < 0 {
		swap = -1 // as on v1, where the limit of both together would forbid unlimited memory
	}
	if swap != 0 {
		n, err := swapV2(swap, limit, current("memory.max"))
		if err != nil {
			return &LimitError{"linux.resources.memory.swap", err}
		}
		l.addLimit("memory.swap", "memory", "memory.swap.max", n, "max")
		if n == 0 {
			(*l)[len(*l)-1].lifts = true // a kernel without swap accounting has no file and no swap to forbid
		}
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		l.addLimit("memory.reservation", "memory", "memory.low", *m.Reservation, "max")
	}
	return nil
}

// swapV2 turns the specification's 'memory and swap together' into cgroup v2's swap alone. Without a new memory limit
// the present one counts.
func swapV2(swap, limit int64, present string) (int64, error) {
	if swap < 0 {
		return -1, nil
	}
	if limit == 0 {
		switch present = strings.TrimSpace(present); present {
		case "":
			return 0, errors.New("needs memory.limit, which it includes")
		case "max":
			limit = -1
		default:
			n, err := strconv.ParseInt(present, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory.max: %w", err)
			}
			limit = n
		}
	}
	switch {
	case limit < 0:
		return swap, nil // nothing to take off
	case swap < limit:
		return 0, fmt.Errorf("%d is less than the memory limit %d, which it includes", swap, limit)
	}
	return swap - limit, nil
}

func cpuV2(l *list, c *specs.LinuxCPU, current func(string) string) {
	idle := c.Idle != nil && *c.Idle > 0
	if c.Idle != nil {
		l.add("cpu.idle", "cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10)).lifts = *c.Idle == 0
	}
	if c.Shares != nil && *c.Shares != 0 && !idle { // an idle group has no weight, and the kernel refuses one
		l.add("cpu.shares", "cpu", "cpu.weight", strconv.FormatUint(cpuWeight(*c.Shares), 10))
	}
	quota := c.Quota != nil && *c.Quota != 0
	period := c.Period != nil && *c.Period != 0
	if quota || period {
		field, v := "cpu.quota", "max"
		switch {
		case quota && *c.Quota > 0:
			v = strconv.FormatInt(*c.Quota, 10)
		case !quota: // a new period keeps the quota
			field = "cpu.period"
			if now := strings.Fields(current("cpu.max")); len(now) > 0 {
				v = now[0]
			}
		}
		lifts := v == "max"
		if period {
			v += " " + strconv.FormatUint(*c.Period, 10)
		}
		l.add(field, "cpu", "cpu.max", v).lifts = lifts
	}
	if c.Burst != nil {
		l.add("cpu.burst", "cpu", "cpu.max.burst", strconv.FormatUint(*c.Burst, 10)).lifts = *c.Burst == 0
	}
	cpuEverywhere(l, c)
}

// cpuWeight converts shares [2, 262144] to a weight [1, 10000] so that both ends and both defaults (1024 and 100) meet:
// a parabola through those three points, on logarithms of both. It is what the peers agreed on in 2025
// (opencontainers/cgroups pull 20, runc 1.3.2, crun 1.23), so a container weighs the same under each of them.
func cpuWeight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	x := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (x*x+125*x)/612-7.0/34)))
}

// ioWeight converts a blkio weight [10, 1000] to io.weight [1, 10000] in a straight line.
func ioWeight(w uint16) uint64 { return 1 + (uint64(max(w, 10))-10)*9999/990 }

func ioV2(l *list, b *specs.LinuxBlockIO) error {
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		return &LimitError{"linux.resources.blockIO.leafWeight", errors.New("cgroup v2 has no leaf weights")}
	}
	weight := func(field, prefix string, w uint16) {
		s := l.add(field, "io", "io.bfq.weight", prefix+strconv.Itoa(int(w)))
		s.or = &setting{field: s.field, controller: "io", file: "io.weight", value: prefix + strconv.FormatUint(ioWeight(w), 10)}
	}
	if b.Weight != nil && *b.Weight != 0 {
		weight("blockIO.weight", "", *b.Weight)
	}
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("blockIO.weightDevice[%d]", i)
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			return &LimitError{"linux.resources." + field + ".leafWeight", errors.New("cgroup v2 has no leaf weights")}
		}
		if d.Weight != nil && *d.Weight != 0 {
			weight(field, device(d.LinuxBlockIODevice)+" ", *d.Weight)
		}
	}
	for _, t := range throttles(b) {
		for i, d := range t.devices {
			rate := "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			l.add(fmt.Sprintf("blockIO.%s[%d]", t.field, i), "io", "io.max", device(d.LinuxBlockIODevice)+" "+t.v2+"="+rate)
		}
	}
	return nil
}

func rdmaLimits(l *list, r map[string]specs.LinuxRdma) error {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		field := "rdma[" + strconv.Quote(name) + "]"
		if err := checkWord(name); err != nil {
			return &LimitError{"linux.resources." + field, err}
		}
		l.add(field, "rdma", "rdma.max", rdmaValue(name, r[name]))
	}
	return nil
}

// unifiedV2 passes a name and value through to the kernel, after looking that the name is one of a limit: files that
// move or end processes are no limits.
func unifiedV2(l *list, u map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(u)) {
		field := "unified[" + strconv.Quote(name) + "]"
		controller, rest, ok := strings.Cut(name, ".")
		if !ok || rest == "" || checkWord(name) != nil || checkName(name) != nil ||
			controller == "cgroup" && !strings.HasPrefix(rest, "max.") && rest != "pressure" {
			return &LimitError{"linux.resources." + field, errors.New("is not the name of a limit")}
		}
		for line := range strings.Lines(u[name]) { // io.max takes a line for each device
			if line = strings.TrimSpace(line); line != "" {
				l.add(field, controller, name, line)
			}
		}
	}
	return nil
}

func value(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}
