package seccomp

import (
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// gated are system calls that need a capability or an architecture.
type gated struct {
	by    string
	names []string
}

// Socket families, from linux/socket.h.
const (
	afUnix    = 1
	afInet    = 2
	afInet6   = 10
	afNetlink = 16
	afPacket  = 17
	afALG     = 38
	afVsock   = 40
	afMax     = 46
)

// cloneNamespaces are the CLONE_NEW flags that clone(2) takes: NEWNS,
// NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const cloneNamespaces = 0x7e020000

// Default returns the engine's profile for this machine's architecture and a
// container whose bounding set has the capabilities caps ("CAP_CHOWN" …). The
// caller owns the result.
//
// It allows what Docker's profile allows, except:
//
//   - socket families: without CAP_NET_ADMIN only Unix, IPv4, IPv6, netlink
//     and packet sockets, since opening a rare one makes the kernel load its
//     module; with it all but AF_ALG and AF_VSOCK;
//   - socketcall on 32-bit x86 cannot create sockets, because no filter sees
//     the family there. Programs use socket(2) since Linux 4.3, but 32-bit
//     glibc built for older kernels does not: for such an image append a rule
//     that allows socketcall;
//   - bpf and perf_event_open want CAP_BPF and CAP_PERFMON by name,
//     CAP_SYS_ADMIN is not enough;
//   - no x32 calls.
//
// io_uring, userfaultfd, the kernel's keyrings and everything unknown give
// EPERM under any capabilities, calls newer than the profile ENOSYS.
func Default(caps []string) *specs.LinuxSeccomp {
	return defaultFor(caps, runtime.GOARCH)
}

func defaultFor(caps []string, goarch string) *specs.LinuxSeccomp {
	errno := uint(eperm)
	s := &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &errno,
		Syscalls:        make([]specs.LinuxSyscall, 0, 64),
	}
	for _, a := range family(goarch) {
		if a != specs.ArchX32 {
			s.Architectures = append(s.Architectures, a)
		}
	}
	names := make([]string, 0, len(defaultCalls)+64)
	names = append(names, defaultCalls[:]...)
	for _, g := range defaultByArch {
		if g.by == goarch {
			names = append(names, g.names...)
		}
	}
	for _, g := range defaultByCap {
		if slices.Contains(caps, g.by) {
			names = append(names, g.names...)
		}
	}
	allow := func(name string, args ...specs.LinuxSeccompArg) {
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: args})
	}
	if slices.Contains(caps, "CAP_SYS_ADMIN") {
		names = append(names, "clone", "clone3")
	} else {
		allow("clone", specs.LinuxSeccompArg{Value: cloneNamespaces, Op: specs.OpMaskedEqual})
		// Its flags lie in memory. ENOSYS makes C libraries use clone.
		missing := uint(enosys)
		s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &missing})
	}
	// Linux, UNAME26, 32-bit, both, and asking which it is.
	for _, v := range [...]uint64{0, 0x20000, 0x8, 0x20008, 0xffffffff} {
		allow("personality", specs.LinuxSeccompArg{Value: v, Op: specs.OpEqualTo})
	}
	allowFamily := func(f uint64) {
		allow("socket", specs.LinuxSeccompArg{Value: f, Op: specs.OpEqualTo})
	}
	if slices.Contains(caps, "CAP_NET_ADMIN") {
		for f := uint64(1); f < afMax; f++ {
			if f != afALG && f != afVsock {
				allowFamily(f)
			}
		}
	} else {
		for _, f := range [...]uint64{afUnix, afInet, afInet6, afNetlink, afPacket} {
			allowFamily(f)
		}
	}
	allow("socketpair", specs.LinuxSeccompArg{Value: afUnix, Op: specs.OpEqualTo})
	s.Syscalls = append(s.Syscalls, specs.LinuxSyscall{Names: names, Action: specs.ActAllow})
	return s
}
