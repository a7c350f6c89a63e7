// Bench measures Loper beside the peers that are installed (crun, runc, podman with conmon), all in one run and in turns,
// and prints a table of medians and ratios. It asserts nothing.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"loper.run/test/env"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := bench{}
	flag.IntVar(&b.n, "n", 60, "how often each command is measured")
	flag.IntVar(&b.pulls, "pulls", 3, "how often each pull is measured")
	flag.StringVar(&b.only, "only", "", "only the rows whose name contains this")
	flag.StringVar(&b.write, "write", "docs/benchmarks.md", "the document whose table is replaced; empty: none")
	flag.StringVar(&b.disk, "disk", "/var/tmp", "a directory on a disk, for the pull on disk; empty: none")
	flag.Parse()
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root: mounts and cgroups of the peers")
	}
	if os.Getenv("LOPER_BENCH_INNER") == "" {
		return inner()
	}
	return b.all()
}

// inner runs the program again in a mount namespace of its own: what the peers mount goes with it, and crun, which refuses
// hybrid cgroups, does not see the second hierarchy.
func inner() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-c",
		`umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"`, self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), "LOPER_BENCH_INNER=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// bench is one run of everything.
type bench struct {
	n, pulls          int
	only, write, disk string

	dir         string // on a tmpfs
	loper, lope string
	registry    *env.Registry
	podman      podman
	large       *big
	rows        []row
}

func (b *bench) all() error {
	var err error
	if b.dir, err = os.MkdirTemp("", "loper-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := syscall.Mount("bench", b.dir, "tmpfs", 0, "size=90%"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	defer syscall.Unmount(b.dir, syscall.MNT_DETACH)
	if err := env.Build(filepath.Join(b.dir, "bin")); err != nil {
		return err
	}
	b.loper, b.lope = filepath.Join(b.dir, "bin/loper"), filepath.Join(b.dir, "bin/lope")
	if b.podman, err = newPodman(filepath.Join(b.dir, "podman")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.dir, "registry"), 0o700); err != nil {
		return err
	}
	if b.registry, err = env.StartRegistry(filepath.Join(b.dir, "registry"), false); err != nil {
		return err
	}
	defer b.registry.Stop()
	for _, part := range []struct {
		name string
		f    func() error
	}{
		{"version", b.version}, {"runtime", b.runtimes}, {"seccomp", b.seccomp}, {"limits", b.limits}, {"engine", b.engines}, {"memory", b.memory}, {"pull", b.pull}, {"giga", b.giga}, {"next", b.next}, {"push", b.push}, {"save", b.save}, {"images", b.thousand},
		{"bridge", b.bridges}, {"traffic", b.traffic}, {"rootless", b.rootless}, {"names", b.names},
	} {
		if b.only != "" && !strings.Contains(part.name, b.only) {
			continue
		}
		if err := part.f(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", part.name, err)
		}
	}
	return b.print()
}

// engine is loper with its state on the tmpfs.
func (b *bench) engine(args ...string) []string {
	return append([]string{b.loper, "--root", filepath.Join(b.dir, "loper/root"), "--runroot", filepath.Join(b.dir, "loper/run")}, args...)
}

// must runs a command that prepares a measurement.
func must(argv []string, environ ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), environ...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
