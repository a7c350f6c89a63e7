package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func call(number, a, b, c uintptr) error {
	if _, _, errno := unix.Syscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// zeros lies on the heap, where nothing moves it while the kernel reads it.
var zeros = make([]byte, 128)

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
