package runtime

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testHost is the machine that the golden programs are for.
func testHost() Host {
	return Host{
		Privileged: true, CgroupTasks: 1, Arch: "amd64",
		Cgroup1: []Hierarchy{{"memory", "memory"}, {"systemd", "name=systemd"}},
		IsFile:  func(path string) bool { return path == "/etc/hostname" },
	}
}

func exampleSpec(t testing.TB, rootless bool) *specs.Spec {
	t.Helper()
	data, err := Example(rootless)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := ParseSpec(data)
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path = "/bundle/rootfs"
	return spec
}

func TestCompileGolden(t *testing.T) {
	uid := uint32(7)
	for name, change := range map[string]func(s *specs.Spec, h *Host, set *Settings){
		"example": func(*specs.Spec, *Host, *Settings) {},
		"gate":    func(_ *specs.Spec, _ *Host, set *Settings) { set.Gate = true; set.PreserveFDs = 1 },
		"cgroup2": func(_ *specs.Spec, h *Host, _ *Settings) { h.Cgroup1, h.Cgroup2, h.CgroupTasks = nil, true, 0 },
		"rootless": func(s *specs.Spec, h *Host, _ *Settings) {
			*s, h.Privileged, h.SetgroupsDenied, h.CgroupTasks = *exampleSpec(t, true), false, true, 0
		},
		"mapped": func(s *specs.Spec, _ *Host, set *Settings) {
			s.Process.Terminal = false
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
			s.Mounts = append(s.Mounts,
				specs.Mount{Destination: "/etc/hostname", Source: "/etc/hostname", Type: "bind", Options: []string{"bind", "ro", "idmap"}},
				specs.Mount{Destination: "/data/deep", Source: "/srv", Type: "bind", Options: []string{"rbind", "rro", "rslave", "idmap"}})
			set.Overlay = &Overlay{Lower: []string{"/a", "/b"}, Upper: "/u", Work: "/w"}
			set.Bound = true
		},
		"network": func(_ *specs.Spec, _ *Host, set *Settings) { set.Network = true },
		"joined": func(s *specs.Spec, _ *Host, _ *Settings) {
			s.Process.Terminal = false
			s.Linux.Namespaces = []specs.LinuxNamespace{
				{Type: specs.NetworkNamespace, Path: "/run/netns/a"}, {Type: specs.PIDNamespace, Path: "/proc/7/ns/pid"},
				{Type: specs.UserNamespace, Path: "/proc/7/ns/user"}, {Type: specs.MountNamespace}, {Type: specs.UTSNamespace},
			}
		},
		"features": func(s *specs.Spec, _ *Host, _ *Settings) {
			umask := uint32(0o27)
			score := 500
			s.Process.Terminal, s.Process.NoNewPrivileges, s.Process.OOMScoreAdj = false, false, &score
			s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 6}, Umask: &umask}
			s.Process.Capabilities.Ambient, s.Process.Capabilities.Inheritable = []string{"CAP_KILL"}, []string{"CAP_KILL"}
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20}, {Type: "RLIMIT_CORE", Soft: 0, Hard: 0}}
			s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1", "kernel.shmmax": "1"}
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/sub/fuse", Type: "c", Major: 10, Minor: 229, UID: &uid}}
			s.Linux.RootfsPropagation = "rshared"
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64}, Syscalls: []specs.LinuxSyscall{{Names: []string{"bpf"}, Action: specs.ActErrno}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec, host, set := exampleSpec(t, false), testHost(), Settings{}
			change(spec, &host, &set)
			compiled, err := Compile(spec, host, set)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".golden"), compiled.Program.String())
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-want +got); 'go test ./runtime -update' rewrites it:\n%s", path, diff)
	}
}

func TestCompileRefuses(t *testing.T) {
	for want, change := range map[string]func(s *specs.Spec){
		"ociVersion: is missing":                           func(s *specs.Spec) { s.Version = "" },
		"root: is missing":                                 func(s *specs.Spec) { s.Root = nil },
		"process.args: is empty":                           func(s *specs.Spec) { s.Process.Args = nil },
		"process.args[0]: is empty":                        func(s *specs.Spec) { s.Process.Args = []string{""} },
		"process.args[0]: contains a NUL byte":             func(s *specs.Spec) { s.Process.Args = []string{"a\x00b"} },
		`process.cwd: "x" is not an absolute path`:         func(s *specs.Spec) { s.Process.Cwd = "x" },
		"process.user.uid: 4294967295 means":               func(s *specs.Spec) { s.Process.User.UID = 1<<32 - 1 },
		`process.rlimits[0].type: unknown limit "X"`:       func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "X"}} },
		"process.rlimits[0].soft: 2 is higher":             func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}} },
		`linux.namespaces[0].type: unknown namespace "x"`:  func(s *specs.Spec) { s.Linux.Namespaces[0].Type = "x" },
		"is listed twice":                                  func(s *specs.Spec) { s.Linux.Namespaces[1] = s.Linux.Namespaces[0] },
		"hostname: needs a uts namespace":                  func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:2] },
		"linux.sysctl.kernel.panic: belongs to no":         func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.panic": "1"} },
		"linux.sysctl.net/../kernel/panic: is no name":     func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net/../kernel/panic": "1"} },
		`linux.devices[0].type: "z" is none of c, u, b`:    func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/z", Type: "z"}} },
		"mounts[7].source: is empty":                       func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind"}) },
		"mounts[7].type: is empty":                         func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x"}) },
		"mounts[7].destination: is empty":                  func(s *specs.Spec) { s.Mounts = append(s.Mounts, specs.Mount{Type: "tmpfs"}) },
		"linux.seccomp":                                    func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "X"} },
		"process.capabilities.effective: has capabilities": func(s *specs.Spec) { s.Process.Capabilities.Permitted = nil },
		"linux.uidMappings: needs a user namespace":        func(s *specs.Spec) { s.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 1}} },
		"PATH has no absolute directory":                   func(s *specs.Spec) { s.Process.Env = []string{"PATH=.:x:"} },
		"needs a network namespace of the container's own,": func(s *specs.Spec) {
			s.Linux.Sysctl, s.Linux.Namespaces = map[string]string{"net.ipv4.ip_forward": "1"}, s.Linux.Namespaces[2:]
		},
	} {
		spec := exampleSpec(t, false)
		change(spec)
		err := Validate(spec)
		if err == nil {
			_, err = Compile(spec, testHost(), Settings{})
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want a line with %q", err, want)
		}
	}
}

func TestParseSpecNamesThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"ociVersion\": \"1.0\",\n]":     "config.json: line 3:",
		`{"ociVersion": 3}`:                  "config.json: ociVersion: is a number, where a string is expected",
		`{"process": {"user": {"uid": -1}}}`: "config.json: process.user.uid: is a number -1",
		``:                                   "config.json:",
	} {
		if _, err := ParseSpec([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"a", "A-b_c.d+e", strings.Repeat("x", 255)} {
		if err := CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "..", "../x", "a b", "a/b", "a\n", "ä", strings.Repeat("x", 256)} {
		if CheckID(id) == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

// FuzzCompile: any config.json compiles or gives an error of one line.
func FuzzCompile(f *testing.F) {
	for _, rootless := range []bool{false, true} {
		data, err := Example(rootless)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"ociVersion":"1.0","root":{"path":"/"},"process":{"args":["/x"],"cwd":"/"},"linux":{"namespaces":[{"type":"mount"},{"type":"time"},{"type":"user","path":"/x"}],"seccomp":{"defaultAction":"SCMP_ACT_KILL"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := ParseSpec(data)
		var compiled *Compiled
		if err == nil {
			compiled, err = Compile(spec, testHost(), Settings{Gate: true})
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		_ = compiled.Program.String()
		if _, err := json.Marshal(compiled.Program); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	spec, host := exampleSpec(b, false), testHost()
	for b.Loop() {
		if _, err := Compile(spec, host, Settings{}); err != nil {
			b.Fatal(err)
		}
	}
}
