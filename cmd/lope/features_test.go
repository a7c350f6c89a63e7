package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
)

func parseFeatures(t *testing.T, text []byte) (f features.Features) {
	t.Helper()
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return f
}

// Lope has what runc has, but for what no file system of today knows.
func TestFeatures(t *testing.T) {
	b := newBox(t)
	ours := parseFeatures(t, []byte(b.want(0, "ociVersionMax", "features").out))
	if ours.OCIVersionMin != "1.0.0" || ours.OCIVersionMax != specs.Version {
		t.Errorf("versions %s to %s", ours.OCIVersionMin, ours.OCIVersionMax)
	}
	if l := ours.Linux; !slices.Contains(l.Namespaces, "time") || !*l.MountExtensions.IDMap.Enabled || !*l.NetDevices.Enabled || !*l.IntelRdt.Enabled || len(l.MemoryPolicy.Modes) == 0 {
		t.Errorf("features of Linux: %+v", l)
	}
	if !slices.Contains(ours.Linux.Seccomp.SupportedFlags, "SECCOMP_FILTER_FLAG_LOG") { // of Linux 4.14
		t.Errorf("flags %v", ours.Linux.Seccomp.SupportedFlags)
	}
	b.want(1, "no arguments", "features", "x")

	text, err := exec.Command("runc", "features").Output()
	if err != nil {
		t.Skip("needs the program runc, to compare with: ", err)
	}
	theirs := parseFeatures(t, text)
	for name, lists := range map[string][2][]string{
		"hooks":            {theirs.Hooks, ours.Hooks},
		"mountOptions":     {theirs.MountOptions, append(ours.MountOptions, "acl", "noacl")}, // file systems' own
		"namespaces":       {theirs.Linux.Namespaces, ours.Linux.Namespaces},
		"capabilities":     {theirs.Linux.Capabilities, ours.Linux.Capabilities},
		"seccomp.actions":  {theirs.Linux.Seccomp.Actions, ours.Linux.Seccomp.Actions},
		"seccomp.operator": {theirs.Linux.Seccomp.Operators, ours.Linux.Seccomp.Operators},
		"seccomp.archs":    {theirs.Linux.Seccomp.Archs, ours.Linux.Seccomp.Archs},
	} {
		for _, v := range lists[0] {
			if !slices.Contains(lists[1], v) {
				t.Errorf("%s: runc has %s", name, v)
			}
		}
	}
}

// What features lists is accepted in config.json.
func TestFeaturesAreTrue(t *testing.T) {
	b := newBox(t)
	f := parseFeatures(t, []byte(b.want(0, "", "features").out))
	seccomp := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow}
	for _, a := range f.Linux.Seccomp.Archs {
		seccomp.Architectures = append(seccomp.Architectures, specs.Arch(a))
	}
	for _, l := range f.Linux.Seccomp.SupportedFlags {
		seccomp.Flags = append(seccomp.Flags, specs.LinuxSeccompFlag(l))
	}
	for _, op := range f.Linux.Seccomp.Operators {
		seccomp.Syscalls = append(seccomp.Syscalls, specs.LinuxSyscall{
			Names: []string{"getpriority"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 77, ValueTwo: 77, Op: specs.LinuxSeccompOperator(op)}},
		})
	}
	for i, a := range f.Linux.Seccomp.Actions {
		if a != string(specs.ActNotify) { // needs an agent
			seccomp.Syscalls = append(seccomp.Syscalls, specs.LinuxSyscall{
				Names: []string{"setpriority"}, Action: specs.LinuxSeccompAction(a), Args: []specs.LinuxSeccompArg{{Index: 0, Value: uint64(1000 + i), Op: specs.OpEqualTo}},
			})
		}
	}
	b.spec.Linux.Seccomp = seccomp
	b.spec.Process.Capabilities.Bounding = f.Linux.Capabilities
	for _, o := range f.MountOptions {
		if o != "remount" && o != "idmap" && o != "ridmap" && o != "iversion" && o != "mand" { // need something to remount, mappings, or a kernel of old
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/opt/" + o, Type: "tmpfs", Source: "/tmp", Options: []string{o}})
		}
	}
	b.write()
	b.want(0, "", "run", "c")
}
