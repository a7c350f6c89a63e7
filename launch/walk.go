package launch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three hooks keep the Go runtime still around a fork, as package syscall
// does for os/exec: signals are blocked, and in the child handlers are reset.

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

//go:linkname runtimeAfterForkInChild syscall.runtime_AfterForkInChild
func runtimeAfterForkInChild()

// report is what the child writes to its parent: 16 bytes, native byte order.
type report struct {
	kind  reportKind
	index int32 // of the operation
	value int64 // errno, or process id
}

type reportKind int32

const (
	reportFailure  reportKind = 1 + iota // an operation failed
	reportAnnounce                       // an Announce was reached
	reportPid                            // the program goes on in this process
	reportExec                           // the execve comes next
)

// clone is how the child is made.
type clone struct {
	flags  uintptr
	cgroup int // descriptor of a cgroup v2 directory, or -1
	pidfd  int32
	into   cloneArgs
}

// cloneArgs is struct clone_args of clone3(2).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// fork makes the child, which walks the steps and never returns. Between
// BeforeFork and AfterFork no Go code may be scheduled, no stack may grow and
// nothing may be allocated, on either side; all that is called is nosplit.
//
//go:noinline
//go:norace
//go:nocheckptr
func fork(c *clone, w *walker) (pid int, errno syscall.Errno) {
	var r uintptr
	runtimeBeforeFork()
	if c.cgroup >= 0 {
		c.into.pidfd = uint64(uintptr(unsafe.Pointer(&c.pidfd)))
		r, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.into)), unsafe.Sizeof(c.into), 0)
	} else {
		r, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, c.flags, 0, uintptr(unsafe.Pointer(&c.pidfd)), 0, 0, 0)
	}
	if errno != 0 || r != 0 {
		runtimeAfterFork()
		return int(r), errno
	}
	runtimeAfterForkInChild()
	walk(w)
	return 0, 0 // not reached
}

// fdRange is a range of descriptors, both ends included.
type fdRange struct{ first, last uintptr }

// walker is the state of the child; everything in it was made by the parent.
type walker struct {
	steps  []step
	slots  []uintptr
	socket uintptr // where reports go
	// foreign are the descriptors that the program has no use for. Among them
	// are other children's sockets: while this one held a copy, those could
	// not tell that their parent is gone.
	foreign []fdRange
	skin    *skin      // what a Shed changes; nil: there is none
	args    [6]uintptr // of the step at hand; the steps' own pages stay shared with the parent
	report  report
	ready   bool // the parent was told that the execve comes next
}

// walk runs the steps in order and ends the process: as another program, or
// with a report of what failed.
//
//go:nosplit
//go:norace
//go:nocheckptr
func walk(w *walker) {
	closeForeign(w)
	for i := 0; i < len(w.steps); i++ {
		s := &w.steps[i]
		fillIn(w, s)
		var r uintptr
		var errno syscall.Errno
		switch s.kind { // the first two go deep, where the stack has no room for take's frame too
		case stepPlace:
			r, errno = place(w, (*aPlace)(s.memory))
		case stepCopyTree:
			errno = copyTree((*treeCopy)(s.memory), w.args[0], w.args[1])
		default:
			r, errno = take(w, s, i)
		}
		if errno == 0 && s.wants && r != s.want {
			errno = unix.EPROTO
		}
		if errno == 0 {
			if s.result != 0 {
				w.slots[s.result] = r
			}
			if s.kind != stepSpawn || r != 0 { // the process aside takes what this one skips
				i += int(s.skip)
			}
			continue
		}
		ok := false
		for j := uint8(0); j < s.accepts; j++ {
			if syscall.Errno(s.accept[j].errno) == errno {
				i += int(s.accept[j].skip)
				ok = true
				break
			}
		}
		if !ok {
			tell(w, reportFailure, i, int64(errno))
			break
		}
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 255, 0, 0)
	}
}

// closeForeign lets go of what the program has no use for.
//
//go:noinline
//go:nosplit
//go:norace
//go:nocheckptr
func closeForeign(w *walker) {
	for i := range w.foreign {
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, w.foreign[i].first, w.foreign[i].last, 0)
	}
}

// fillIn puts the results of earlier steps where this one wants them. The depth
// of the stack counts here: nothing of walk's own goes into its frame.
//
//go:noinline
//go:nosplit
//go:norace
//go:nocheckptr
func fillIn(w *walker, s *step) {
	for j := range s.args {
		w.args[j] = s.args[j]
		if s.from[j] != 0 {
			w.args[j] = w.slots[s.from[j]-1]
		}
	}
	for j := range s.patches {
		*s.patches[j].word = w.slots[s.patches[j].slot]
	}
}

// take does what one step says.
//
//go:nosplit
//go:norace
//go:nocheckptr
func take(w *walker, s *step, index int) (uintptr, syscall.Errno) {
	switch s.kind {
	case stepCheck:
		if *(*uint64)(s.memory)&uint64(w.args[3]) != uint64(w.args[4]) {
			return 0, syscall.Errno(w.args[2])
		}
		return 0, 0
	case stepLoad:
		return uintptr(*(*uint32)(s.memory)), 0
	case stepShed:
		return 0, shed(w.skin, w.args[0])
	case stepReport:
		w.socket = w.args[0]
		return 0, 0
	case stepAnnounce:
		return 0, tell(w, reportAnnounce, index, 0)
	case stepReady:
		w.ready = true
		return 0, tell(w, reportExec, index, 0)
	case stepSpawn:
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		w.ready = w.ready || errno == 0 && pid == 0 // the execve of the process aside is nobody's news
		return pid, errno
	case stepFork:
		pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, w.args[0]|unix.CLONE_PARENT|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid != 0 {
			tell(w, reportPid, index, int64(pid))
			for {
				syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
			}
		}
		if errno == 0 {
			errno = known(w)
		}
		return 0, errno
	}
	if s.nr == unix.SYS_EXECVE && !w.ready {
		w.ready = true
		tell(w, reportExec, index, 0)
	}
	for {
		r, _, errno := syscall.RawSyscall6(s.nr, w.args[0], w.args[1], w.args[2], w.args[3], w.args[4], w.args[5])
		if errno != unix.EINTR {
			return r, errno
		}
	}
}

// known waits until the parent knows of this second child: what it reports must
// not come before its process id.
//
//go:nosplit
//go:norace
//go:nocheckptr
func known(w *walker) syscall.Errno {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, w.socket, uintptr(unsafe.Pointer(&w.report)), 1, 0, 0, 0)
		switch {
		case errno == 0 && n != 1:
			return unix.EPIPE
		case errno != unix.EINTR:
			return errno
		}
	}
}

// tell writes a report to the parent. A parent that is gone is no failure: who
// may not outlive it was told so by PR_SET_PDEATHSIG.
//
//go:nosplit
//go:norace
//go:nocheckptr
func tell(w *walker, kind reportKind, index int, value int64) syscall.Errno {
	w.report = report{kind, int32(index), value}
	_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, w.socket, uintptr(unsafe.Pointer(&w.report)), unsafe.Sizeof(w.report), unix.MSG_NOSIGNAL, 0, 0)
	if errno == unix.EPIPE || errno == unix.ECONNRESET {
		errno = 0
	}
	return errno
}
