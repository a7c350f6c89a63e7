package launch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A forked child has its parent's memory, and with it the parent's file: it is
// what /proc/PID/exe leads to, and what the file's mappings refer to. Shed
// replaces both by another view of the same file, such as one on a read-only
// mount. The code is then the same, at the same addresses, in the same pages;
// the writable data is let go of, which the walker never touches: all that it
// reads was made in the heap.

// CanShed tells whether this kernel lets a process change what it runs from
// (CONFIG_CHECKPOINT_RESTORE).
func CanShed() bool {
	var size uint32
	err := unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, uintptr(unsafe.Pointer(&size)), 0, 0)
	return err == nil && uintptr(size) == unsafe.Sizeof(mmMap{})
}

// skin is what a Shed needs to know of this process.
type skin struct {
	mappings []mapping
	mm       mmMap
}

// mapping is a part of the program's file in memory.
type mapping struct{ start, size, prot, offset uintptr }

// mmMap is struct prctl_mm_map of the kernel's <linux/prctl.h>.
type mmMap struct {
	startCode, endCode, startData, endData, startBrk, brk, startStack uint64
	argStart, argEnd, envStart, envEnd                                uint64
	auxv                                                              uint64
	auxvSize, exeFd                                                   uint32
}

// ownSkin looks at this process.
func ownSkin() (*skin, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	s := &skin{}
	if s.mappings, err = fileMappings(maps, uint64(reflect.ValueOf(walk).Pointer())); err != nil {
		return nil, fmt.Errorf("/proc/self/maps: %w", err)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil, err
	}
	if s.mm, err = parseMM(stat); err != nil {
		return nil, fmt.Errorf("/proc/self/stat: %w", err)
	}
	end, _, errno := syscall.RawSyscall(unix.SYS_BRK, 0, 0, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("brk", errno)
	}
	s.mm.brk = max(uint64(end), s.mm.startBrk)
	return s, nil
}

// fileMappings lists the mappings of the file that the code at pc comes from.
func fileMappings(maps []byte, pc uint64) ([]mapping, error) {
	type line struct {
		mapping
		file string // device and inode
	}
	var lines []line
	var own string
	for text := range bytes.Lines(maps) {
		f := bytes.Fields(text)
		if len(f) < 6 || string(f[4]) == "0" {
			continue // of no file
		}
		from, to, _ := bytes.Cut(f[0], []byte("-"))
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		offset, err3 := strconv.ParseUint(string(f[2]), 16, 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		l := line{mapping{uintptr(start), uintptr(end - start), protection(f[1]), uintptr(offset)}, string(f[3]) + " " + string(f[4])}
		if start <= pc && pc < end {
			own = l.file
		}
		lines = append(lines, l)
	}
	var list []mapping
	for _, l := range lines {
		if l.file == own {
			list = append(list, l.mapping)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no mapping of the code at %#x", pc)
	}
	return list, nil
}

// protection reads "r-xp". What can be written is let go of: 0.
func protection(mode []byte) uintptr {
	if bytes.IndexByte(mode, 'w') >= 0 {
		return 0
	}
	prot := uintptr(unix.PROT_READ)
	if bytes.IndexByte(mode, 'x') >= 0 {
		prot |= unix.PROT_EXEC
	}
	return prot
}

// parseMM reads the addresses that change with a Shed no more than they must
// (proc_pid_stat(5), fields 26 to 28 and 45 to 51).
func parseMM(stat []byte) (m mmMap, err error) {
	// The second field, the name in parentheses, may contain anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 49 {
		return m, fmt.Errorf("%d fields are too few", len(fields))
	}
	for number, to := range map[int]*uint64{
		26: &m.startCode, 27: &m.endCode, 28: &m.startStack, 45: &m.startData, 46: &m.endData, 47: &m.startBrk,
		48: &m.argStart, 49: &m.argEnd, 50: &m.envStart, 51: &m.envEnd,
	} {
		if len(fields) <= number-3 {
			return m, fmt.Errorf("field %d is missing", number)
		}
		if *to, err = strconv.ParseUint(string(fields[number-3]), 10, 64); err != nil {
			return m, err
		}
	}
	return m, nil
}

// shed makes this process run from the file that fd refers to.
//
//go:nosplit
//go:norace
//go:nocheckptr
func shed(s *skin, fd uintptr) syscall.Errno {
	for i := range s.mappings {
		m := &s.mappings[i]
		var errno syscall.Errno
		if m.prot == 0 {
			_, _, errno = syscall.RawSyscall(unix.SYS_MUNMAP, m.start, m.size, 0)
		} else {
			_, _, errno = syscall.RawSyscall6(unix.SYS_MMAP, m.start, m.size, m.prot, unix.MAP_PRIVATE|unix.MAP_FIXED, fd, m.offset)
		}
		if errno != 0 {
			return errno
		}
	}
	s.mm.exeFd = uint32(fd)
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, uintptr(unsafe.Pointer(&s.mm)), unsafe.Sizeof(s.mm), 0, 0)
	return errno
}
