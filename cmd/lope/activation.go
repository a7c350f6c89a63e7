package main

import (
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// activated tells how many listening sockets, from descriptor 3 on, systemd's
// socket activation gave to lope (sd_listen_fds(3)), and passes the news on to
// the container's program, which gets the sockets and is process 1 of its pid
// namespace.
func activated(spec *specs.Spec) int {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n <= 0 || n > maxListening || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || spec.Process == nil {
		return 0
	}
	env := append([]string(nil), spec.Process.Env...)
	env = append(env, "LISTEN_FDS="+strconv.Itoa(n), "LISTEN_PID=1")
	if names := os.Getenv("LISTEN_FDNAMES"); names != "" {
		env = append(env, "LISTEN_FDNAMES="+names)
	}
	spec.Process.Env = env
	return n
}

// maxListening is more sockets than a process may have open by default.
const maxListening = 1 << 16
