//go:build arm64 || riscv64 || loong64

package confine

import "golang.org/x/sys/unix"

// ofArchitecture are calls that not every architecture has under this name.
var ofArchitecture = []uintptr{unix.SYS_FSTATAT}
