package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"loper.run/internal/confine"

	"golang.org/x/sys/unix"
)

const (
	maxTime   = 30 * time.Second // of the clock
	maxCPU    = 20               // seconds of all threads together
	maxMemory = 512 << 20        // bytes
)

// confineSelf gives up every right that the parsers do without, for good and on all threads: from here on the process
// can compute, write to what is open already, and end. It opens nothing, starts nothing, and reaches no network.
func confineSelf() error {
	time.AfterFunc(maxTime, func() {
		fmt.Fprintf(os.Stderr, "loper-verify: not done within %s\n", maxTime)
		os.Exit(1)
	})
	debug.SetMemoryLimit(maxMemory / 2)
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 4 * maxRequest, unix.RLIMIT_MEMLOCK: 0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("resource limit %d: %w", resource, err)
		}
	}
	return confine.Self(confine.Compute(unix.Getpid()), false)
}
