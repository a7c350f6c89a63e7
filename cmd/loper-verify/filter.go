package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allowed are the system calls of a Go process that computes and writes its answer. All others fail with EPERM: what
// opens, connects, starts, traces or signals is not among them.
var allowed = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FCNTL,
	unix.SYS_BRK, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP,
	unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETRANDOM, unix.SYS_GETRLIMIT,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, // the runtime's timers
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// threadFlags have to be among the flags of clone: it may make a thread, and no process.
const threadFlags = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD

// filterCalls lets no other system calls than the allowed ones through, on all threads.
func filterCalls() error {
	own, known := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !known {
		return fmt.Errorf("no filter for %s", runtime.GOARCH)
	}
	filter := filterProgram(own)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

// filterProgram is the filter, for the kernel to run on each call's struct seccomp_data: number, architecture, address
// and six arguments. Own is the number of this program's architecture.
func filterProgram(own uint32) []unix.SockFilter {
	const (
		number, arch, arguments = 0, 4, 16
		load                    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal                   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		any                     = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		and                     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
		ret                     = unix.BPF_RET | unix.BPF_K
	)
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	deny := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	f := []unix.SockFilter{
		{Code: load, K: arch},
		{Code: equal, K: own, Jt: 1},
		{Code: ret, K: unix.SECCOMP_RET_KILL_PROCESS}, // another architecture's numbers would mean other calls
		{Code: load, K: number},
		// Memory may be mapped, but never to be executed: the third argument has the rights.
		{Code: equal, K: unix.SYS_MMAP, Jt: 1},
		{Code: equal, K: unix.SYS_MPROTECT, Jf: 4},
		{Code: load, K: arguments + 2*8},
		{Code: any, K: unix.PROT_EXEC, Jt: 1},
		allow,
		deny,
		// A thread, and no process. clone3 is not there: its flags lie in memory, where a filter does not look.
		{Code: equal, K: unix.SYS_CLONE, Jf: 5},
		{Code: load, K: arguments},
		{Code: and, K: threadFlags},
		{Code: equal, K: threadFlags, Jf: 1},
		allow,
		deny,
		// The signals of a process that ends or wants its own threads' attention go to itself.
		{Code: equal, K: unix.SYS_TGKILL, Jf: 4},
		{Code: load, K: arguments},
		{Code: equal, K: uint32(unix.Getpid()), Jf: 1},
		allow,
		deny,
	}
	for _, call := range allowed {
		f = append(f, unix.SockFilter{Code: equal, K: call, Jf: 1}, allow)
	}
	return append(f, deny)
}
