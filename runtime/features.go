package runtime

import (
	"slices"

	"loper.run/runtime/cgroup/systemd"
	"loper.run/runtime/seccomp"

	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

// minVersion is the oldest version of the specification that config.json may
// have; the newest is the one that the code is made for.
const minVersion = "1.0.0"

// criuAnnotation names a file of criu's own options.
const criuAnnotation = "org.criu.config"

// Features tells what the package implements, whether or not this machine has
// it too (runtime-spec, features.md). The lists are those that config.json is
// checked by; of capabilities they are the kernel's known ones.
func Features() *features.Features {
	yes := true
	known := seccomp.Known()
	f := &features.Features{
		OCIVersionMin: minVersion, OCIVersionMax: specs.Version,
		MountOptions: MountOptions(),
		Linux: &features.Linux{
			Cgroup: &features.Cgroup{V1: &yes, V2: &yes, Systemd: &yes, SystemdUser: &yes, Rdma: &yes},
			Seccomp: &features.Seccomp{
				Enabled: &yes, Actions: texts(known.Actions), Operators: texts(known.Operators), Archs: texts(known.Archs),
				KnownFlags: texts(known.KnownFlags), SupportedFlags: texts(known.SupportedFlags),
			},
			Apparmor:        &features.Apparmor{Enabled: &yes},
			Selinux:         &features.Selinux{Enabled: &yes},
			IntelRdt:        &features.IntelRdt{Enabled: &yes, Schemata: &yes, Monitoring: &yes},
			MemoryPolicy:    &features.MemoryPolicy{Modes: texts(memoryModes[:]), Flags: texts(memoryFlags[:])},
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: &yes}},
			NetDevices:      &features.NetDevices{Enabled: &yes},
		},
		PotentiallyUnsafeConfigAnnotations: []string{systemd.Annotation, criuAnnotation},
	}
	for _, kind := range hookKinds(specs.Hooks{}) {
		f.Hooks = append(f.Hooks, kind.name)
	}
	for _, n := range namespaceTypes {
		f.Linux.Namespaces = append(f.Linux.Namespaces, string(n.name))
	}
	for _, c := range capability.ListKnown() {
		f.Linux.Capabilities = append(f.Linux.Capabilities, "CAP_"+upper(c.String()))
	}
	return f
}

func texts[T ~string](list []T) []string {
	var all []string
	for _, v := range list {
		all = append(all, string(v))
	}
	slices.Sort(all)
	return all
}
