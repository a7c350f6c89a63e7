package container

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// facts is what a config.json depends on besides the record: the state of the
// host and of other containers at the moment of the start.
type facts struct {
	rootless bool
	uids     []specs.LinuxIDMapping // of the container's user namespace; nil: the caller's
	gids     []specs.LinuxIDMapping
	accounts accounts
	hostname string              // of the host
	caps     []string            // all that --privileged can give
	joined   map[string]int      // process in each container whose namespaces are joined, by its name as given
	cgroups  cgroupFacts         // what the host's cgroups can limit
	devices  []hostDevice        // for --device and --privileged
	seccomp  *specs.LinuxSeccomp // for the file of --security-opt seccomp=
	ipv6     bool                // the host's kernel speaks it
	ipcDirs  []string            // where the host shows its ipc namespace
	dir      string              // with the generated files of /etc
	volumes  string              // the directory of all volumes
	mixed    map[string]bool     // sources of binds with mounts below that cannot be id-mapped
	init     string              // program of --init
	hide     []string            // directories of the engine's own, hidden from a host image
	hostDirs []string            // top-level directories that a rootless host image binds
	noEtc    []string            // generated files that have no place in such a read-only /etc
}

// cgroupFacts says what the host's cgroups can limit.
type cgroupFacts struct {
	usable bool // limits can be set at all
	swap   bool // memory and swap together can be limited
}

// hostDevice is a device node of the host.
type hostDevice struct {
	Device
	kind         string // c or b
	major, minor int64
	mode         uint32 // permission bits
	uid, gid     uint32
}

// ownUserns reports whether the container has a user namespace of its own.
func (f *facts) ownUserns() bool { return len(f.uids) > 0 }

// idMapped reports whether files of the host need id-mapped mounts to keep
// their owners inside. An ordinary user's ids cannot be mapped on a mount; there
// the user namespace itself shows the user's files as root's.
func (f *facts) idMapped() bool { return f.ownUserns() && !f.rootless }
