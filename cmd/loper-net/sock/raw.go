package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here are for descriptors that never make them wait. So Go's scheduler is not told of them: else it would give
// the processor to another thread when one of them takes some time, as a packet's way through the kernel does, and a
// packet that is handed from thread to thread comes late.

// Read reads what is there.
func Read(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

// Send sends without waiting and without a signal.
func Send(fd int, p []byte) (int, error) {
	data := unsafe.Pointer(unsafe.SliceData(p))
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(data), uintptr(len(p)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return result(n, errno)
}

// Vector is the parts of a packet.
type Vector []unix.Iovec

// Append adds a part, which must stay where it is until the call.
func (v Vector) Append(p []byte) Vector {
	if len(p) == 0 {
		return v
	}
	part := unix.Iovec{Base: &p[0]}
	part.SetLen(len(p))
	return append(v, part)
}

// Readv reads into the parts, one after the other.
func (v Vector) Readv(fd int) (int, error) { return v.call(unix.SYS_READV, fd) }

// Writev writes the parts as one.
func (v Vector) Writev(fd int) (int, error) { return v.call(unix.SYS_WRITEV, fd) }

func (v Vector) call(nr uintptr, fd int) (int, error) {
	if len(v) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall(nr, uintptr(fd), uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
	return result(n, errno)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
