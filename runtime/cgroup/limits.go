package cgroup

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// setting is one value for one file, and where in config.json it comes from.
type setting struct {
	field      string // linux.resources.memory.limit
	controller string // memory
	file       string // memory.max
	value      string
	lifts      bool     // the value means 'no limit': where the file is missing there is nothing to lift
	or         *setting // instead, where file is missing
}

// list collects settings.
type list []setting

func (l *list) add(field, controller, file, value string) *setting {
	*l = append(*l, setting{field: "linux.resources." + field, controller: controller, file: file, value: value})
	return &(*l)[len(*l)-1]
}

// addLimit adds a number where a negative one means unlimited and is written as unlimited.
func (l *list) addLimit(field, controller, file string, n int64, unlimited string) {
	if n < 0 {
		l.add(field, controller, file, unlimited).lifts = true
		return
	}
	l.add(field, controller, file, strconv.FormatInt(n, 10))
}

// apply writes the settings through put. Some files refuse a value that another one, not yet written, still
// contradicts (a quota and its period, a limit and the limit with swap): what is refused as invalid is tried once more
// at the end, so that no order has to be known for each pair and each direction.
func (l list) apply(put func(*setting) error) error {
	var again list
	for i := range l {
		err := put(&l[i])
		if errors.Is(err, unix.EINVAL) {
			again = append(again, l[i])
		} else if err != nil {
			return &LimitError{l[i].field, err}
		}
	}
	for i := range again {
		if err := put(&again[i]); err != nil {
			return &LimitError{again[i].field, err}
		}
	}
	return nil
}

// putAt writes s into the group whose directory is open.
func putAt(dir int, s *setting) error {
	for ; ; s = s.or {
		err := writeAt(dir, s.file, s.value)
		switch {
		case err == nil:
			return nil
		case err == unix.ENOENT && s.or != nil:
			continue
		case err == unix.ENOENT && s.lifts:
			return nil
		case err == unix.ENOENT:
			return fmt.Errorf("this kernel has no %s", s.file)
		case err == unix.EBUSY && s.controller == "memory":
			return fmt.Errorf("%s does not accept %q: more than that is in use, and can't be reclaimed: %w", s.file, s.value, err)
		case err == unix.EINVAL:
			return fmt.Errorf("%s does not accept %q: %w", s.file, s.value, err)
		}
		return fmt.Errorf("write %q to %s: %w", s.value, s.file, err)
	}
}

// cpuEverywhere has the files that are called alike on v1 and v2. Real-time limits are v1's: on v2 no kernel has the
// files, and the error says so.
func cpuEverywhere(l *list, c *specs.LinuxCPU) {
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		l.add("cpu.realtimePeriod", "cpu", "cpu.rt_period_us", strconv.FormatUint(*c.RealtimePeriod, 10))
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		l.addLimit("cpu.realtimeRuntime", "cpu", "cpu.rt_runtime_us", *c.RealtimeRuntime, "-1")
	}
	if c.Cpus != "" {
		l.add("cpu.cpus", "cpuset", "cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" {
		l.add("cpu.mems", "cpuset", "cpuset.mems", c.Mems)
	}
}

// device formats a block device's number as the io controllers want it.
func device(d specs.LinuxBlockIODevice) string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}

// checkPageSize accepts what the kernel uses in its files' names: 64KB, 2MB, 1GB.
func checkPageSize(s string) error {
	n := len(s)
	if n < 3 || n > 12 || s[n-1] != 'B' || (s[n-2] != 'K' && s[n-2] != 'M' && s[n-2] != 'G') {
		return fmt.Errorf("%.20q is not a page size such as 2MB", s)
	}
	for _, c := range s[:n-2] {
		if c < '0' || c > '9' {
			return fmt.Errorf("%.20q is not a page size such as 2MB", s)
		}
	}
	return nil
}

// checkWord accepts a name that is written into a file with other words after it.
func checkWord(s string) error {
	if s == "" || len(s) > 255 {
		return fmt.Errorf("%.20q is not a name", s)
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("%.20q is not a name", s)
		}
	}
	return nil
}

// rdmaValue is the one line that the rdma controller takes for a device, the same on v1 and v2.
func rdmaValue(name string, r specs.LinuxRdma) string {
	v := name
	if r.HcaHandles != nil {
		v += " hca_handle=" + strconv.FormatUint(uint64(*r.HcaHandles), 10)
	}
	if r.HcaObjects != nil {
		v += " hca_object=" + strconv.FormatUint(uint64(*r.HcaObjects), 10)
	}
	return v
}
