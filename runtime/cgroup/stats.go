package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// NoLimit stands for 'no limit' in Stats.
const NoLimit = math.MaxUint64

// Stats is what a container has used since its group was made. A controller that is not there leaves zeros, and
// NoLimit where a limit is told.
type Stats struct {
	CPU      CPUStats
	CPUSet   CPUSetStats
	Memory   MemoryStats
	Pids     PidsStats
	IO       IOStats
	Hugetlb  map[string]HugetlbStats // by page size, such as 2MB
	Rdma     map[string]RdmaStats    // by device
	OOMKills uint64
}

// CPUStats counts processor time in nanoseconds.
type CPUStats struct {
	Total, User, System               uint64
	PerCPU, PerCPUUser, PerCPUSystem  []uint64 // by processor number; v1 alone has them
	Periods, Throttled, ThrottledTime uint64   // periods of cpu.quota that have passed, and in which it was used up
	Bursts, BurstTime                 uint64   // periods in which cpu.burst was drawn on
	Pressure                          *Pressure
}

// CPUSetStats is what the cpuset controller has, and, but for the two lists, v1 alone.
type CPUSetStats struct {
	CPUs, Mems                                                           []uint16
	CPUExclusive, MemHardwall, MemExclusive, MemoryMigrate               uint64
	MemorySpreadPage, MemorySpreadSlab, MemoryPressure, SchedLoadBalance uint64
	SchedRelaxDomainLevel                                                int64
}

// MemoryStats is in bytes.
type MemoryStats struct {
	Usage        uint64            // with the page cache
	WorkingSet   uint64            // Usage without InactiveFile: what Docker shows as memory usage
	Limit        uint64            // or NoLimit
	Peak         uint64            // highest Usage; 0 where the kernel does not tell (v2 before Linux 5.19)
	Failures     uint64            // how often the limit was hit
	Cache        uint64            // page cache
	InactiveFile uint64            // page cache that can go first
	Anon         uint64            // memory without a file
	Swap         uint64            // swapped out
	SwapLimit    uint64            // of swap alone, or NoLimit
	Both         MemoryUsage       // memory and swap together, as v1 counts
	Kernel       MemoryUsage       // v1; the limits are no more
	KernelTCP    MemoryUsage       // v1
	Raw          map[string]uint64 // all of memory.stat
	Events       map[string]uint64 // v2: all of memory.events
	Pressure     *Pressure
}

// MemoryUsage is one kind of memory, in bytes.
type MemoryUsage struct{ Usage, Limit, Peak, Failures uint64 }

// PidsStats counts tasks.
type PidsStats struct {
	Current, Limit uint64 // Limit can be NoLimit
}

// IOStats has sums, and v1's tables; v2's io.stat fills those of which it knows.
type IOStats struct {
	Read, Written uint64 // bytes
	Reads, Writes uint64 // operations
	ServiceBytes, Serviced, Queued, ServiceTime,
	WaitTime, Merged, Time, Sectors []IOEntry
	Pressure *Pressure
}

// IOEntry is one line of a blkio table.
type IOEntry struct {
	Major, Minor uint64
	Op           string // Read, Write …; "" where the table has none
	Value        uint64
}

// HugetlbStats is in bytes; the reservations' numbers have Rsvd before their names.
type HugetlbStats struct{ Usage, Peak, Limit, Failures, RsvdUsage, RsvdLimit uint64 }

// RdmaStats counts handles and objects; a limit can be NoLimit.
type RdmaStats struct{ Handles, Objects, HandlesLimit, ObjectsLimit uint64 }

// Pressure is what tasks lost by waiting (the kernel's PSI; v2).
type Pressure struct{ Some, Full PressureLine }

// PressureLine has shares of time in percent over 10, 60 and 300 seconds, and the whole wait in microseconds.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}

// field finds the number after a key in a file of 'key value' lines; 0 when it is missing.
func field(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok && strings.HasPrefix(rest, " ") {
			return number(rest)
		}
	}
	return 0
}

// fields reads all 'key value' lines.
func fields(text string) map[string]uint64 {
	if text == "" {
		return nil
	}
	all := make(map[string]uint64)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, " "); ok {
			all[key] = number(value)
		}
	}
	return all
}

// number reads a decimal number; "max" is NoLimit, and what is no number is 0.
func number(s string) uint64 {
	s = strings.TrimSpace(s)
	if s == "max" {
		return NoLimit
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// minus is a - b, and 0 where counters read one after the other do not fit.
func minus(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// plus is a + b where NoLimit stays what it is.
func plus(a, b uint64) uint64 {
	if a == NoLimit || b == NoLimit {
		return NoLimit
	}
	return a + b
}

// reader reads files of one open group. A file that is not there is empty; the first other error stays.
type reader struct {
	dir int
	err error
}

func (r *reader) text(name string) string {
	text, err := readAt(r.dir, name)
	if err != nil && err != unix.ENOENT && err != unix.EOPNOTSUPP && r.err == nil {
		r.err = fmt.Errorf("read %s: %w", name, err)
	}
	return text
}

func (r *reader) number(name string) uint64 { return number(r.text(name)) }

// limit reads a number, and takes a missing file for 'no limit'.
func (r *reader) limit(name string) uint64 {
	if text := r.text(name); text != "" {
		return number(text)
	}
	return NoLimit
}

// usage reads the four files of a v1 kind of memory.
func (r *reader) usage(prefix string) MemoryUsage {
	limit := r.text(prefix + ".limit_in_bytes")
	if limit == "" {
		return MemoryUsage{}
	}
	return MemoryUsage{
		Usage: r.number(prefix + ".usage_in_bytes"), Limit: pageLimit(number(limit)),
		Peak: r.number(prefix + ".max_usage_in_bytes"), Failures: r.number(prefix + ".failcnt"),
	}
}

func (r *reader) close() { unix.Close(r.dir) }
