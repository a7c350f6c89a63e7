package cgroup

import "golang.org/x/sys/unix"

// Join is how a process about to be made gets into the groups with no kernel-wide lock.
//
// Writing a pid to cgroup.procs takes a lock whose first taker waits for an RCU grace period: 5 to 20 ms on a machine
// where nothing else moves processes. Two ways avoid it: being born in a v2 group (clone3 with CLONE_INTO_CGROUP), and,
// on v1, a process of one thread that moves that thread itself by writing "0" to the group's tasks file (since Linux
// 5.5 the kernel then needs no stable thread group).
type Join struct {
	// CloneFD is the directory for clone3's CLONE_INTO_CGROUP; -1: do without the flag.
	CloneFD int
	// ByParent tells that the process must be moved in with Add, before it does anything of the container: it can't
	// get into the groups by itself, or they are made for it by then.
	ByParent bool
	// Tasks are descriptors, open for writing, on each of which the new process writes the one byte "0" while it has
	// a single thread, and before it enters a cgroup namespace.
	Tasks []int
}

// Close closes the descriptors.
func (j *Join) Close() {
	if j.CloneFD >= 0 {
		unix.Close(j.CloneFD)
	}
	for _, fd := range j.Tasks {
		unix.Close(fd)
	}
	*j = Join{CloneFD: -1}
}
