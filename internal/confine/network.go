package confine

import "golang.org/x/sys/unix"

// Forward is the filter of a Go process that carries bytes between sockets: it
// makes sockets of the internet's families and uses what is open, but opens no
// file. pid is its own.
func Forward(pid int) []byte {
	calls := append(runtimeCalls(),
		unix.SYS_ACCEPT4, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_CONNECT, unix.SYS_SHUTDOWN,
		unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT,
		unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_READV, unix.SYS_WRITEV,
		unix.SYS_SPLICE, unix.SYS_PIPE2, unix.SYS_PPOLL,
	)
	return compile(calls, append(socketRules(), callRule{unix.SYS_IOCTL, []test{{arg: 1, values: []uint32{unix.TIOCINQ}}}}, interrupt(pid)))
}

// Sockets is the filter of a Go process that makes such sockets for another one.
func Sockets(pid int) []byte {
	return compile(append(runtimeCalls(), unix.SYS_SETSOCKOPT, unix.SYS_SENDMSG, unix.SYS_RECVMSG), append(socketRules(), interrupt(pid)))
}

// socketRules allow TCP, UDP and pings besides what Go's runtime needs.
func socketRules() []callRule {
	return append(runtimeRules(), callRule{unix.SYS_SOCKET, []test{
		{arg: 0, values: []uint32{unix.AF_INET, unix.AF_INET6}},
		{arg: 1, mask: 0xf, values: []uint32{unix.SOCK_STREAM, unix.SOCK_DGRAM}},
	}})
}
