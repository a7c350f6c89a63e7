package seccomp

import "strings"

// noSlot is in the table where an ABI has no such call.
const noSlot = 0xffff

// partIPC is set in the table where a call is a part of ipc(2).
const partIPC = 0x80

// callName is the i-th name of the table.
func callName(i int) string {
	if i == 0 {
		return syscallNames[:syscallEnds[0]]
	}
	return syscallNames[syscallEnds[i-1]:syscallEnds[i]]
}

// lookup finds a system call's place in the table by its name, -1 when no
// architecture has it. Profiles tend to be sorted, so it first looks at the
// few names after hint, the result for the name before.
func lookup(name string, hint int) int {
	for i := hint + 1; i <= hint+4 && i < syscalls; i++ {
		if callName(i) == name {
			return i
		}
	}
	lo, hi := 0, syscalls
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := strings.Compare(callName(mid), name); {
		case c < 0:
			lo = mid + 1
		case c > 0:
			hi = mid
		default:
			return mid
		}
	}
	return -1
}
