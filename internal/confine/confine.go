// Package confine says what a process may do that has only to turn foreign
// bytes into files of one directory: which system calls, which capabilities,
// which files and how much. It is data; package userns starts processes by it.
//
// The layers overlap on purpose, since each has gaps that another one closes:
// a root directory keeps paths inside, where Landlock knows nothing of modes,
// owners and times; the filter keeps inherited descriptors from being changed,
// and the kernel's rarer corners out of reach.
package confine

import "golang.org/x/sys/unix"

// The descriptors of a confined process.
const (
	// Dir is the only directory that it sees, and its root directory.
	Dir = 3
	// Program is what it is executed from. No other execve is possible: the
	// descriptor closes with it, and the number is above MaxFiles.
	Program = 300
	// MaxFiles is the number of descriptors that it may have, RLIMIT_NOFILE.
	MaxFiles = 256
)

// MaxData is RLIMIT_DATA in bytes: heap and stacks. What is unpacked needs a
// small part of it, so that only a process gone wild meets it.
const MaxData = 4 << 30

// Capabilities are the bits of what it keeps, and these count in its user
// namespace only: owners, modes and file capabilities are the layer's to say.
const Capabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_SETFCAP

// LastCapability is the highest capability to take out of the bounding set; the
// kernel says EINVAL for what it doesn't know.
const LastCapability = 63
