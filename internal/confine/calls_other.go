//go:build !amd64 && !arm64 && !riscv64 && !loong64

package confine

// ofArchitecture is for architectures that Filter knows.
var ofArchitecture []uintptr
