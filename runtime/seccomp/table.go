package seccomp

import "strings"

// lookup finds a system call's row in the table by its name, -1 when no
// architecture has it. Profiles tend to be sorted, so it first looks at the
// few rows after hint, the result for the name before.
func lookup(name string, hint int) int {
	for i := hint + 1; i <= hint+4 && i < len(syscallTable); i++ {
		if syscallTable[i].name == name {
			return i
		}
	}
	lo, hi := 0, len(syscallTable)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := strings.Compare(syscallTable[mid].name, name); {
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
