package container

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// proc is a process as /proc shows it.
type proc struct {
	pid, uid   int
	user       string // the host's name, or the number
	comm, args string
	stat       []string // /proc/PID/stat from the state on, the third field
	started    time.Time
	used       time.Duration
}

// ticks is the kernel's unit of times in /proc/PID/stat.
const ticks = 10 * time.Millisecond

func readProc(pid int, names map[int]string) (*proc, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	owner, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, os.ErrNotExist
	}
	p := &proc{pid: pid, uid: int(owner.Uid)}
	if p.stat, err = readStat(pid); err != nil {
		return nil, err
	}
	comm, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return nil, err
	}
	p.comm = printable(strings.TrimSuffix(string(comm), "\n"))
	p.user = cmp.Or(names[p.uid], strconv.Itoa(p.uid))
	cmdline, err := os.ReadFile(dir + "/cmdline")
	if err != nil {
		return nil, err
	}
	p.args = printable(strings.TrimRight(strings.ReplaceAll(string(cmdline), "\x00", " "), " "))
	if p.args == "" {
		p.args = "[" + p.comm + "]"
	}
	p.used = time.Duration(p.number(11)+p.number(12)) * ticks
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return nil, err
	}
	p.started = time.Now().Add(time.Duration(p.number(19))*ticks - time.Duration(boot.Nano()))
	return p, nil
}

// readStat reads the fields of /proc/PID/stat from the state, the third, on.
func readStat(pid int) ([]string, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	stat, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// The name before them is in parentheses and may hold any byte.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return nil, fmt.Errorf("%s is short", path)
	}
	return fields, nil
}

// printable keeps a process's name from sending sequences to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func (p *proc) number(field int) int {
	n, _ := strconv.Atoi(p.stat[field])
	return n
}

// percent is the share of a CPU over the process's life.
func (p *proc) percent() int {
	life := time.Since(p.started)
	if life <= 0 {
		return 0
	}
	return int(100 * p.used / life)
}

func (p *proc) startFormat() string {
	if time.Since(p.started) > 24*time.Hour {
		return "Jan02"
	}
	return "15:04"
}

func (p *proc) tty() string {
	dev := uint64(p.number(4))
	switch major, minor := unix.Major(dev), unix.Minor(dev); {
	case dev == 0:
		return "?"
	case major >= 136 && major < 144:
		return fmt.Sprintf("pts/%d", (major-136)<<8+minor)
	case major == 4 && minor < 64:
		return fmt.Sprintf("tty%d", minor)
	default:
		return fmt.Sprintf("%d:%d", major, minor)
	}
}

func clock(d time.Duration) string {
	s := int(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}
