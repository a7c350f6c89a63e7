package seccomp

// conditional is the weight of a call whose arguments are looked at. For calls
// that are always allowed kernels since 5.11 do not run the filter at all, so
// these are what it is run for.
const conditional = 16

// weight tells how soon a decision is to be found.
func (p *profile) weight(d uint16) uint32 {
	if p.decided[d].final {
		return 1
	}
	return conditional
}

// commonCalls are what programs call most.
var commonCalls = [...]string{
	"brk", "clock_gettime", "clock_nanosleep", "close", "epoll_pwait", "epoll_wait", "fcntl", "fstat", "futex", "getpid", "lseek",
	"mmap", "mprotect", "munmap", "newfstatat", "openat", "poll", "ppoll", "pread64", "pwrite64", "read", "readv", "recvfrom", "recvmsg",
	"rt_sigprocmask", "sched_yield", "sendmsg", "sendto", "write", "writev",
}

// slotSet is a set of slots.
type slotSet [(directSlots + privateSlots + 63) / 64]uint64

func (s *slotSet) has(slot int32) bool { return s[slot/64]>>(slot%64)&1 != 0 }

// commonSlots are the common calls of a column.
func commonSlots(column uint8) *slotSet {
	s, at := &slotSet{}, -1
	for _, name := range commonCalls {
		at = lookup(name, at)
		if slot := syscallSlots[column][at]; slot != noSlot {
			s[slot/64] |= 1 << (slot % 64)
		}
	}
	return s
}
