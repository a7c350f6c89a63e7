package cgroup

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"loper.run/runtime/cgroup/systemd"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The versions of systemd that brought what older ones would refuse.
const (
	systemdCPUIdle   = 252 // CPUWeight=0 is cpu.idle
	systemdOOMPolicy = 253 // of a scope
)

// usualPeriod is the kernel's period of a CPU quota, in microseconds.
const usualPeriod = 100_000

// properties are all that a new unit is started with.
func (s *scope) properties(b *systemd.Bus, pid int) ([]systemd.Property, error) {
	io := "IOAccounting"
	if s.v1() {
		io = "BlockIOAccounting"
	}
	all := []systemd.Property{
		systemd.Set("Description", "container "+s.id),
		systemd.Set("Slice", s.slice),
		systemd.Set("Delegate", true),
		systemd.Set("PIDs", []uint32{uint32(pid)}),
		systemd.Set("DefaultDependencies", false),
		systemd.Set("MemoryAccounting", true),
		systemd.Set("CPUAccounting", true),
		systemd.Set(io, true),
		systemd.Set("TasksAccounting", true),
	}
	limits, _, err := s.plan(s.resources)
	if err != nil {
		return nil, err
	}
	set, err := limitProperties(limits, s.v1(), s.read, b.Version)
	if err != nil {
		return nil, err
	}
	all = append(all, set...)
	if !s.unit.User { // a user's systemd has no rights over devices
		devices, err := deviceProperties(s.resources, s.v1())
		if err != nil {
			return nil, err
		}
		all = append(all, devices...)
	}
	if policy := oomPolicy(limits); policy != "" {
		if version, err := b.Version(); err == nil && version >= systemdOOMPolicy {
			all = append(all, systemd.Set("OOMPolicy", policy))
		}
	}
	return append(all, s.extra...), nil
}

// oomPolicy is what systemd shall do when the kernel ended one process of the unit: it must not end all of them where
// memory.oom.group says otherwise, and the other way round.
func oomPolicy(limits list) string {
	for _, l := range limits {
		switch {
		case l.file != "memory.oom.group":
		case l.value == "1":
			return "kill"
		default:
			return "continue"
		}
	}
	return ""
}

// propertyOf are the files whose number is that of a property: 'max' or -1 is infinity for both.
var propertyOf = [...]struct{ file, name string }{
	{"memory.max", "MemoryMax"}, {"memory.high", "MemoryHigh"}, {"memory.low", "MemoryLow"}, {"memory.min", "MemoryMin"},
	{"memory.swap.max", "MemorySwapMax"}, {"memory.limit_in_bytes", "MemoryLimit"}, {"pids.max", "TasksMax"},
	{"cpu.weight", "CPUWeight"}, {"cpu.shares", "CPUShares"}, {"io.weight", "IOWeight"}, {"blkio.weight", "BlockIOWeight"},
}

// limitProperties are the properties for those settings that systemd knows. current reads a file of the groups as it
// is, for what has two halves; version asks systemd for its own.
func limitProperties(limits list, v1 bool, current func(string) string, version func() (int, error)) ([]systemd.Property, error) {
	var all []systemd.Property
	put := func(name string, value any) {
		p := systemd.Set(name, value)
		for i := range all {
			if all[i].Name == name { // unified comes last, and overrides
				all[i] = p
				return
			}
		}
		all = append(all, p)
	}
	quota, period := "", ""
	idle := false
	for i := range limits {
		l := &limits[i]
		if l.or != nil && !strings.Contains(l.value, " ") { // a weight for BFQ, or for all schedulers
			l = l.or
		}
		for _, p := range propertyOf {
			if p.file != l.file {
				continue
			}
			n, ok := propertyNumber(strings.TrimPrefix(l.value, "default "))
			if ok && p.name == "TasksMax" {
				n = max(n, 1) // systemd refuses 0; the first process is there, and both forbid another
			}
			if ok {
				put(p.name, n)
			}
		}
		switch l.file {
		case "cpu.idle":
			idle = !v1 && l.value == "1"
		case "cpu.max":
			quota, period, _ = strings.Cut(l.value, " ")
		case "cpu.cfs_quota_us":
			quota = l.value
		case "cpu.cfs_period_us":
			period = l.value
		case "cpuset.cpus", "cpuset.mems":
			bits, err := bitmask(l.value)
			if err != nil {
				return nil, &LimitError{l.field, err}
			}
			name := "AllowedCPUs"
			if l.file == "cpuset.mems" {
				name = "AllowedMemoryNodes"
			}
			put(name, bits)
		}
	}
	if quota != "" || period != "" {
		per, length, given := cpuQuota(quota, period, v1, current)
		if given {
			put("CPUQuotaPeriodUSec", length)
		}
		put("CPUQuotaPerSecUSec", per)
	}
	if idle {
		if v, err := version(); err != nil {
			return nil, err
		} else if v >= systemdCPUIdle {
			put("CPUWeight", uint64(0))
		}
	}
	return all, nil
}

// propertyNumber reads a number or 'no limit', which v1 also shows as a huge number.
func propertyNumber(s string) (uint64, bool) {
	s = strings.TrimSpace(s)
	if s == "max" || s == "-1" {
		return math.MaxUint64, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if n >= 1<<62 {
		n = math.MaxUint64
	}
	return n, err == nil
}

// cpuQuota turns microseconds per period into systemd's microseconds per second, rounded up to a whole percent of a
// processor as systemd keeps it. given tells whether the period is to be set.
func cpuQuota(quota, period string, v1 bool, current func(string) string) (per, length uint64, given bool) {
	nowQuota, nowPeriod := strings.TrimSpace(current("cpu.cfs_quota_us")), strings.TrimSpace(current("cpu.cfs_period_us"))
	if !v1 {
		nowQuota, nowPeriod, _ = strings.Cut(strings.TrimSpace(current("cpu.max")), " ")
	}
	if quota == "" {
		quota = nowQuota
	}
	given = period != ""
	if !given {
		period = nowPeriod
	}
	length, err := strconv.ParseUint(period, 10, 64)
	if err != nil || length == 0 {
		length = usualPeriod
	}
	n, err := strconv.ParseUint(quota, 10, 64)
	if err != nil || n > math.MaxUint64/1_000_000-1 { // max, or -1
		return math.MaxUint64, length, given
	}
	const percent = 10_000
	per = n * 1_000_000 / length
	return (per + percent - 1) / percent * percent, length, given
}

// maxBit bounds a list of processors or memory nodes; the kernel has at most 8192 of the first.
const maxBit = 1 << 16

// bitmask turns a list such as 0-3,7 into systemd's form, the lowest numbers in the first byte.
func bitmask(s string) ([]byte, error) {
	var mask []byte
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err1 != nil || err2 != nil || from > to || to >= maxBit {
			return nil, fmt.Errorf("%.40q is not a list of numbers such as 0-3,7", s)
		}
		for uint64(len(mask)) <= to/8 {
			mask = append(mask, 0)
		}
		for n := from; n <= to; n++ {
			mask[n/8] |= 1 << (n % 8)
		}
	}
	if len(mask) == 0 {
		return nil, fmt.Errorf("%.40q names none", s)
	}
	return mask, nil
}

// deviceEntry is one line of DeviceAllow: a device or a group of them, and letters of r, w, m.
type deviceEntry struct{ Path, Access string }

// deviceProperties are the device rules as systemd's properties. It knows lists of what is allowed. Where the rules say
// more than such a list can, on v2 systemd allows more, and the group's own filter, which stands beside systemd's, has
// the exact rules; on v1 there is one list for both, and such rules are refused.
func deviceProperties(r *specs.LinuxResources, v1 bool) ([]systemd.Property, error) {
	rules, err := deviceRules(r)
	if err != nil {
		return nil, err
	}
	set, err := newDeviceSet(rules)
	entries := []deviceEntry{}
	inexact := err != nil || set.allow && len(set.except) > 0
	if inexact {
		set = deviceSet{allow: true}
	}
	policy := "auto" // everything, where no entry follows
	if !set.allow {
		policy = "strict"
	}
	for _, e := range set.except {
		kind := map[byte]string{'b': "block", 'c': "char"}[e.kind]
		name := kind + "-*"
		switch {
		case e.major != anyNumber && e.minor != anyNumber:
			name = fmt.Sprintf("/dev/%s/%d:%d", kind, e.major, e.minor)
		case e.major != anyNumber:
			name = fmt.Sprintf("%s-%d", kind, e.major)
		case e.minor != anyNumber:
			inexact = true
		}
		entries = append(entries, deviceEntry{name, strings.Fields(e.String())[2]})
	}
	if inexact && v1 {
		if err != nil {
			return nil, err
		}
		return nil, &LimitError{"linux.resources.devices", errors.New("systemd can hold lists of what is allowed alone, by number or by a whole major number")}
	}
	return []systemd.Property{
		systemd.Set("DeviceAllow", []deviceEntry{}), // what was there
		systemd.Set("DevicePolicy", policy),
		systemd.Set("DeviceAllow", entries),
	}, nil
}
