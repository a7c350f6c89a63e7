package nft

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// Listen has a NETLINK_NETFILTER socket hear that somebody, whoever it is,
// changed tables, chains or rules, or deleted a set, in the socket's network
// namespace. Elements of sets, which some firewalls add and delete all the time,
// wake nobody. The socket stays the caller's; for nothing else is it of use then.
func Listen(fd int) error {
	program := changes()
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter); err != nil {
		return os.NewSyscallError("filter what nftables tells", err)
	}
	// One message says as much as a thousand.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<10)
	err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)})
	return os.NewSyscallError("listen to nftables", err)
}

// Heard forgets all that a socket of Listen has heard, and reports whether there
// was anything. What did not find room counts.
func Heard(fd int) bool {
	for any := false; ; any = true {
		_, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err != nil && err != unix.EINTR && err != unix.ENOBUFS {
			return any
		}
	}
}

// mostMessages is more than a datagram of elements has where pages have 4 KiB.
// Before Linux 6.6 the kernel takes no program for more than some 70.
const mostMessages = 64

// changes is a filter that looks at the messages of a datagram, and lets one pass
// that has more of them. An nlmsghdr begins with its length in the machine's
// order, of which 16 bits are enough. Where there is nothing more to load, the
// kernel drops.
func changes() []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_B | unix.BPF_IND
		all  = 1<<32 - 1
	)
	// Where the lower two bytes of the length are, and the kind below nftables'
	// subsystem.
	low, high, kind := uint32(0), uint32(1), uint32(4)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		low, high, kind = 3, 2, 5
	}
	program := []unix.SockFilter{{Code: unix.BPF_LDX | unix.BPF_IMM}}
	for range mostMessages {
		program = append(program,
			unix.SockFilter{Code: load, K: kind},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT, K: unix.NFT_MSG_DELRULE, Jf: 1}, // of tables, chains and rules
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ, K: unix.NFT_MSG_DELSET, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET, K: all},
			// The next one.
			unix.SockFilter{Code: load, K: high},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_LSH, K: 8},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X},
			unix.SockFilter{Code: unix.BPF_ST},
			unix.SockFilter{Code: load, K: low},
			unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_MEM},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_ADD, K: 3},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND, K: all - 3},
			unix.SockFilter{Code: unix.BPF_MISC | unix.BPF_TAX},
		)
	}
	return append(program, unix.SockFilter{Code: load, K: kind}, unix.SockFilter{Code: unix.BPF_RET, K: all})
}
