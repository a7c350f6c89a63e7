package confine

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// Filter returns a seccomp filter as an array of struct sock_filter, or nil on
// an architecture that it is not written for. What is not listed fails with
// EPERM. alone says that the process is the first of a pid namespace.
//
// The kernel keeps the answers for calls whose arguments don't matter, so most
// cost nothing (Linux 5.11).
func Filter(alone bool) []byte {
	rules := append(runtimeRules(), fileRules()...)
	if alone {
		// Go's threads interrupt each other. Elsewhere it could be meant for
		// the caller.
		rules = append(rules, interrupt(1))
	}
	return compile(append(runtimeCalls(), fileCalls()...), rules)
}

// Compute is the filter of a Go process that only computes, and writes to what
// is open already: it opens nothing. pid is its own.
func Compute(pid int) []byte {
	return compile(runtimeCalls(), append(runtimeRules(), interrupt(pid)))
}

func compile(calls []uintptr, rules []callRule) []byte {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return nil
	}
	var a assembler
	a.emit(opLoad, 0, 0, offArch)
	a.emit(opJeq, 1, 0, arch)
	a.emit(opRet, 0, 0, unix.SECCOMP_RET_KILL_PROCESS)
	a.emit(opLoad, 0, 0, offNr)
	for _, nr := range calls {
		a.emit(opJeq, 0, 1, uint32(nr))
		a.emit(opRet, 0, 0, unix.SECCOMP_RET_ALLOW)
	}
	for _, r := range rules {
		a.rule(r)
	}
	a.emit(opRet, 0, 0, refused)
	return a.code
}

const refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

// architectures have 64 bits, the low half of a word first, and flags as the
// first argument of clone.
var architectures = map[string]uint32{
	"amd64":   unix.AUDIT_ARCH_X86_64,
	"arm64":   unix.AUDIT_ARCH_AARCH64,
	"riscv64": unix.AUDIT_ARCH_RISCV64,
	"loong64": unix.AUDIT_ARCH_LOONGARCH64,
}

// runtimeCalls are calls of Go's runtime, whatever their arguments.
func runtimeCalls() []uintptr {
	return []uintptr{
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FUTEX,
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
		unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
		unix.SYS_GETPID, unix.SYS_GETTID,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2,
		unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	}
}

// fileCalls are those that files are made by, and of a Go program's start.
func fileCalls() []uintptr {
	return append([]uintptr{
		unix.SYS_PREAD64, unix.SYS_PWRITE64,
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_FSTAT, unix.SYS_LSEEK, unix.SYS_FTRUNCATE, unix.SYS_FSTATFS,
		unix.SYS_MKDIRAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_GETDENTS64,
		unix.SYS_FCHDIR, unix.SYS_GETCWD, unix.SYS_UMASK,
		unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	}, ofArchitecture...)
}

// callRule allows a call when all its tests hold.
type callRule struct {
	nr    uintptr
	tests []test
}

// test looks at the low half of an argument.
type test struct {
	arg    uint32
	mask   uint32   // 0: all bits
	values []uint32 // one of these,
	from   uint32   // or at least this, when not 0
}

// threadFlags is how Go makes a thread, on some architectures with CLONE_SETTLS.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// runtimeRules let a Go process map memory, but none that is executed, and make
// threads, but no processes.
func runtimeRules() []callRule {
	noExec := test{arg: 2, mask: unix.PROT_EXEC, values: []uint32{0}}
	return []callRule{
		{unix.SYS_MMAP, []test{noExec}},
		{unix.SYS_MPROTECT, []test{noExec}},
		{unix.SYS_CLONE, []test{{arg: 0, mask: ^uint32(unix.CLONE_SETTLS), values: []uint32{threadFlags}}}},
		{unix.SYS_FCNTL, []test{{arg: 1, values: []uint32{unix.F_GETFD, unix.F_SETFD, unix.F_GETFL}}}},
	}
}

// interrupt lets a process signal its own threads.
func interrupt(pid int) callRule {
	return callRule{unix.SYS_TGKILL, []test{{arg: 0, values: []uint32{uint32(pid)}}}}
}

func fileRules() []callRule {
	// Of the descriptors that the process began with, only Dir's may get
	// another mode, owner, time or attribute; the packed file is not its own.
	own := test{arg: 0, values: []uint32{Dir}, from: Dir + 2}
	return []callRule{
		{unix.SYS_UTIMENSAT, []test{own}},
		{unix.SYS_FCHOWN, []test{own}},
		{unix.SYS_FCHOWNAT, []test{own}},
		{unix.SYS_FCHMOD, []test{own}},
		{unix.SYS_FCHMODAT, []test{own}},
		{unix.SYS_FCHMODAT2, []test{own}},
		{unix.SYS_FSETXATTR, []test{own}},
		{unix.SYS_LINKAT, []test{{arg: 4, values: []uint32{0}}}}, // no AT_EMPTY_PATH
		{unix.SYS_MKNODAT, []test{{arg: 2, mask: unix.S_IFMT, values: []uint32{unix.S_IFCHR, unix.S_IFIFO}}}},
		{unix.SYS_PRLIMIT64, []test{{arg: 0, values: []uint32{0}}}},
		{unix.SYS_PRCTL, []test{{arg: 0, values: []uint32{unix.PR_SET_DUMPABLE}}, {arg: 1, values: []uint32{0}}}},
		{unix.SYS_EXECVEAT, []test{{arg: 0, values: []uint32{Program}}, {arg: 4, values: []uint32{unix.AT_EMPTY_PATH}}}},
	}
}

// Opcodes, from linux/bpf_common.h, and offsets in struct seccomp_data.
const (
	opLoad = 0x20 // A = seccomp_data[K:K+4]
	opAnd  = 0x54 // A &= K
	opJeq  = 0x15
	opJge  = 0x35
	opRet  = 0x06

	offNr   = 0
	offArch = 4
	offArgs = 16
)

type assembler struct{ code []byte }

func (a *assembler) emit(code uint16, jt, jf uint8, k uint32) {
	a.code = binary.NativeEndian.AppendUint16(a.code, code)
	a.code = append(a.code, jt, jf)
	a.code = binary.NativeEndian.AppendUint32(a.code, k)
}

// rule emits a call's block: it is left by a return, or never entered.
func (a *assembler) rule(r callRule) {
	var block assembler
	for _, t := range r.tests {
		block.emit(opLoad, 0, 0, offArgs+8*t.arg)
		if t.mask != 0 {
			block.emit(opAnd, 0, 0, t.mask)
		}
		left := uint8(len(t.values)) // instructions up to the refusal
		if t.from != 0 {
			left++
		}
		for _, v := range t.values {
			block.emit(opJeq, left, 0, v)
			left--
		}
		if t.from != 0 {
			block.emit(opJge, left, 0, t.from)
		}
		block.emit(opRet, 0, 0, refused)
	}
	block.emit(opRet, 0, 0, unix.SECCOMP_RET_ALLOW)
	a.emit(opJeq, 0, uint8(len(block.code)/8), uint32(r.nr))
	a.code = append(a.code, block.code...)
}
