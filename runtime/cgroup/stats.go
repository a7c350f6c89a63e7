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
	CPU struct {
		Total, User, System uint64 // nanoseconds
		Periods, Throttled  uint64 // periods of cpu.quota that have passed, and in which the quota was used up
		ThrottledTime       uint64 // nanoseconds
	}
	Memory struct {
		Usage        uint64 // bytes, with the page cache
		WorkingSet   uint64 // Usage without InactiveFile: what Docker shows as memory usage
		Limit        uint64 // bytes or NoLimit
		Peak         uint64 // highest Usage; 0 where the kernel does not tell (v2 before Linux 5.19)
		Cache        uint64 // bytes of page cache
		InactiveFile uint64 // bytes of page cache that can go first
		Anon         uint64 // bytes of memory without a file
		Swap         uint64 // bytes swapped out
		SwapLimit    uint64 // bytes of swap alone, or NoLimit
	}
	Pids struct {
		Current, Limit uint64 // tasks; Limit can be NoLimit
	}
	IO struct {
		Read, Written uint64 // bytes
		Reads, Writes uint64 // operations
	}
	OOMKills uint64
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

// limit reads a number, and takes a missing file for 'no limit'.
func (r *reader) limit(name string) uint64 {
	if text := r.text(name); text != "" {
		return number(text)
	}
	return NoLimit
}

func (r *reader) close() { unix.Close(r.dir) }
