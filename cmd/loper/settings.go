package main

import (
	"strings"

	"github.com/spf13/pflag"

	"loper.run/container"
)

// creation is what the flags of run and create say: the container's settings,
// and what only the command itself needs.
type creation struct {
	container.Settings

	entrypoint     *string
	env, envFiles  []string
	labels         []string
	labelFiles     []string
	pull, platform string
	trust          trustFlags
	network        networkFlags
	quiet          bool
	cidfile        string
	attach         []string
	plan           bool
	format         string // of the plan
}

// flags declares the flags that run and create have in common.
func (c *creation) flags(f *pflag.FlagSet) {
	f.SetInterspersed(false)
	s := &c.Settings

	f.StringVar(&s.Name, "name", "", "Assign a name to the container")
	f.Var(value{"string", func(w string) error { c.entrypoint = &w; return nil }}, "entrypoint", "Overwrite the default entrypoint of the image")
	f.VarP(list(&c.env), "env", "e", "Set environment variables")
	f.Var(list(&c.envFiles), "env-file", "Read environment variables from a file")
	f.StringVarP(&s.WorkingDir, "workdir", "w", "", "Working directory inside the container")
	f.StringVarP(&s.User, "user", "u", "", "User name or id (<name|uid>[:<group|gid>])")
	f.Var(list(&s.GroupAdd), "group-add", "Add further groups")
	f.StringVarP(&s.Hostname, "hostname", "h", "", "Host name of the container")
	f.StringVar(&s.Domainname, "domainname", "", "NIS domain name of the container")
	f.BoolVarP(&s.Terminal, "tty", "t", false, "Allocate a terminal")
	f.BoolVarP(&s.OpenStdin, "interactive", "i", false, "Keep standard input open even if not attached")
	f.BoolVar(&s.Init, "init", false, "Run a small init that forwards signals and reaps processes")
	f.BoolVar(&s.AutoRemove, "rm", false, "Remove the container and its anonymous volumes when it exits")
	f.BoolVar(&s.ReadOnly, "read-only", false, "Mount the container's root file system read-only")
	f.StringVar(&s.StopSignal, "stop-signal", "", "Signal that stops the container")
	f.Var(number(&s.StopTimeout), "stop-timeout", "Seconds to wait before a stopping container is killed")
	f.StringVar(&s.DetachKeys, "detach-keys", "", "Keys that detach from the container")
	f.VarP(list(&c.attach), "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	f.VarP(list(&c.labels), "label", "l", "Set a label on the container")
	f.Var(list(&c.labelFiles), "label-file", "Read labels from a file")
	f.StringVar(&s.LogDriver, "log-driver", "", "Where the output is kept: k8s-file, none")
	f.Var(pairs(&s.LogOpts), "log-opt", "Options of the log driver: max-size, max-file")

	c.imageFlags(f)
	isolationFlags(f, s)
	c.network.flags(f, s)
	resourceFlags(f, &s.Resources)
	mountFlags(f, s)
}

// imageFlags declares what is asked about the image and about the command.
func (c *creation) imageFlags(f *pflag.FlagSet) {
	f.StringVar(&c.pull, "pull", "missing", `Pull the image before: "always", "missing", "never"`)
	f.StringVar(&c.platform, "platform", "", "Platform of the image, as in linux/arm64")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "Show no progress of the pull")
	c.trust.add(f)
	f.StringVar(&c.cidfile, "cidfile", "", "Write the container's id to a file")
	f.BoolVar(&c.plan, "plan", false, "Print the system calls that would start the container, and exit")
	f.StringVar(&c.format, "format", "text", `Form of the plan: "text", "json"`)
}

// isolationFlags declares what parts the container from its host.
func isolationFlags(f *pflag.FlagSet, s *container.Settings) {
	f.StringVar(&s.UsernsMode, "userns", "", "User namespace: an own range of ids (the default), host")
	f.StringVar(&s.PidMode, "pid", "", "Process ids: private (the default), host, container:NAME")
	f.StringVar(&s.IpcMode, "ipc", "", "IPC: private (the default), shareable, host, none, container:NAME")
	f.StringVar(&s.UtsMode, "uts", "", "Host name's namespace: private (the default), host")
	f.StringVar(&s.CgroupnsMode, "cgroupns", "", "Cgroup namespace: private (the default), host")
	f.StringVar(&s.CgroupParent, "cgroup-parent", "", "Parent cgroup of the container")
	f.BoolVar(&s.Privileged, "privileged", false, "Give extended rights to the container")
	f.Var(list(&s.CapAdd), "cap-add", "Add Linux capabilities")
	f.Var(list(&s.CapDrop), "cap-drop", "Drop Linux capabilities")
	f.Var(list(&s.SecurityOpt), "security-opt", "Security options: seccomp=FILE|unconfined, no-new-privileges[=false], …")
	f.Var(pairs(&s.Sysctls), "sysctl", "Set kernel parameters of the container's namespaces")
	f.Var(appendTo(&s.Ulimits, container.ParseUlimit), "ulimit", "Limits of processes, as in nofile=1024:2048")
	f.Var(appendTo(&s.Devices, container.ParseDevice), "device", "Add a device of the host")
	f.Var(number(&s.OomScoreAdj), "oom-score-adj", "Preference of the kernel when memory is short (-1000 to 1000)")
}

// resourceFlags declares limits.
func resourceFlags(f *pflag.FlagSet, r *container.Resources) {
	f.VarP(size(&r.Memory, false), "memory", "m", "Memory limit")
	f.Var(size(&r.MemorySwap, true), "memory-swap", "Limit of memory and swap together; -1 for unlimited swap")
	f.Var(size(&r.MemoryReservation, false), "memory-reservation", "Memory soft limit")
	f.Var(number(&r.MemorySwappiness), "memory-swappiness", "Readiness to swap (0 to 100)")
	f.BoolVar(&r.OomKillDisable, "oom-kill-disable", false, "Do not kill when memory is short")
	f.Var(cpus(&r.NanoCPUs), "cpus", "Number of CPUs")
	f.Uint64VarP(&r.CPUShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&r.CPUPeriod, "cpu-period", 0, "Period of the CPU quota, in microseconds")
	f.Int64Var(&r.CPUQuota, "cpu-quota", 0, "CPU time in each period, in microseconds")
	f.StringVar(&r.CpusetCpus, "cpuset-cpus", "", "CPUs that may be used (0-3, 0,1)")
	f.StringVar(&r.CpusetMems, "cpuset-mems", "", "Memory nodes that may be used (0-3, 0,1)")
	f.Uint16Var(&r.BlkioWeight, "blkio-weight", 0, "Block I/O weight, from 10 to 1000")
	f.Int64Var(&r.PidsLimit, "pids-limit", 0, "Limit of processes; -1 for none")
}

// mountFlags declares what is mounted besides the image.
func mountFlags(f *pflag.FlagSet, s *container.Settings) {
	f.VarP(appendTo(&s.Mounts, container.ParseVolume), "volume", "v", "Bind a directory or volume ([SOURCE:]TARGET[:OPTIONS])")
	f.Var(appendTo(&s.Mounts, container.ParseMount), "mount", "Attach a mount (type=bind,source=…,target=…)")
	f.Var(value{"list", func(word string) error {
		target, options, _ := strings.Cut(word, ":")
		put(&s.Tmpfs, target, options)
		return nil
	}}, "tmpfs", "Mount a tmpfs (TARGET[:OPTIONS])")
	f.Var(size(&s.ShmSize, false), "shm-size", "Size of /dev/shm")
}
