package confine

import "golang.org/x/sys/unix"

// ofArchitecture are calls that not every architecture has under this name.
var ofArchitecture = []uintptr{unix.SYS_NEWFSTATAT, unix.SYS_ARCH_PRCTL}
