package container

import (
	"errors"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/runtime/cgroup"
)

// Stats is one sample of what a container uses. Rates come of two samples: the
// share of all CPUs is the change of CPUTotal by that of SystemCPU.
type Stats struct {
	Read         time.Time
	NoGroup      bool   // the container has no cgroup: only what its network carried is known
	CPUTotal     uint64 // nanoseconds since the start
	CPUUser      uint64 // nanoseconds
	CPUSystem    uint64 // nanoseconds
	SystemCPU    uint64 // nanoseconds that all CPUs of the host were not idle or were
	OnlineCPUs   int
	MemoryUsage  uint64 // bytes, without page cache that is not used
	MemoryLimit  uint64 // bytes; the host's memory when there is no limit
	MemoryCache  uint64 // bytes
	Swap         uint64 // bytes
	PidsCurrent  uint64
	PidsLimit    uint64 // 0: none
	BlockRead    uint64 // bytes
	BlockWritten uint64 // bytes
	NetReceived  uint64 // bytes, all interfaces but loopback
	NetSent      uint64 // bytes
	OOMKills     uint64
}

// Stats samples a running container: its cgroup, if it has one, and its network.
func (c *Container) Stats() (Stats, error) {
	rc, err := c.loadRuntime()
	if err != nil {
		return Stats{}, err
	}
	m, err := rc.Cgroup()
	if err != nil {
		return Stats{}, err
	}
	received, sent := uint64(0), uint64(0)
	if c.Settings.Network != "host" { // else it is everybody's
		received, sent = netBytes(rc.Pid())
	}
	g, err := m.Stats()
	if errors.Is(err, cgroup.ErrNoGroup) {
		return Stats{Read: time.Now(), NoGroup: true, NetReceived: received, NetSent: sent}, nil
	}
	if err != nil {
		return Stats{}, err
	}
	s := Stats{
		Read: time.Now(), OnlineCPUs: runtime.NumCPU(),
		CPUTotal: g.CPU.Total, CPUUser: g.CPU.User, CPUSystem: g.CPU.System,
		MemoryUsage: g.Memory.WorkingSet, MemoryLimit: g.Memory.Limit, MemoryCache: g.Memory.Cache, Swap: g.Memory.Swap,
		PidsCurrent: g.Pids.Current, PidsLimit: g.Pids.Limit,
		BlockRead: g.IO.Read, BlockWritten: g.IO.Written, NetReceived: received, NetSent: sent, OOMKills: g.OOMKills,
	}
	if s.PidsLimit == math.MaxUint64 {
		s.PidsLimit = 0
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		s.MemoryLimit = min(s.MemoryLimit, uint64(info.Totalram)*uint64(info.Unit))
	}
	s.SystemCPU = systemCPU()
	return s, nil
}

// systemCPU adds up the first eight times of /proc/stat's first line, which
// are in hundredths of a second.
func systemCPU() uint64 {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	var sum uint64
	for _, f := range fields[min(1, len(fields)):min(9, len(fields))] {
		n, _ := strconv.ParseUint(f, 10, 64)
		sum += n
	}
	return sum * uint64(10*time.Millisecond)
}

// netBytes adds up the interfaces in the network of a process.
func netBytes(pid int) (received, sent uint64) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		name, numbers, ok := strings.Cut(line, ":")
		fields := strings.Fields(numbers)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 9 {
			continue
		}
		r, _ := strconv.ParseUint(fields[0], 10, 64)
		s, _ := strconv.ParseUint(fields[8], 10, 64)
		received, sent = received+r, sent+s
	}
	return received, sent
}
