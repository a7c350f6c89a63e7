package container

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hostMounts make a sandbox of the host's own root file system: fresh
// directories for what belongs to running programs, nothing of the engine's own
// state, and, where an ordinary user cannot have the root as an overlay's
// layer, read-only binds of its parts.
func hostMounts(f *facts) []specs.Mount {
	var list []specs.Mount
	for _, dir := range f.hostDirs {
		list = append(list, specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind", "rprivate", "ro", "rro"}})
	}
	list = append(list,
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}},
		specs.Mount{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=755"}},
	)
	for _, dir := range f.hide {
		list = append(list, specs.Mount{Destination: dir, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "noexec", "ro", "mode=000", "size=4096"}})
	}
	return list
}
