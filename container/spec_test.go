package container

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"loper.run/image/oci"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testID = "5f0c1e7e0d1b4a0f9c3d2b1a5f0c1e7e0d1b4a0f9c3d2b1a5f0c1e7e0d1b4a0f"

// testRecord is a container of an image with all that an image may choose.
func testRecord() *Record {
	return &Record{
		ID: testID, Name: "tidy_otter", Range: 3, Layers: []string{"/layers/a", "/layers/b"},
		Image: Defaults{
			Env: []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8"}, Entrypoint: []string{"/entry"}, Cmd: []string{"serve"},
			WorkingDir: "/srv", User: "app",
		},
	}
}

// testFacts are those of root on a host with cgroups and a range for the container.
func testFacts() *facts {
	m := rangeMapping(3)
	return &facts{
		uids: m, gids: m, hostname: "stone", dir: "/root/container/ID", volumes: "/root/volume", init: "/usr/bin/lope",
		caps: []string{"CAP_CHOWN", "CAP_SYS_ADMIN"}, cgroups: cgroupFacts{usable: true, swap: true}, joined: map[string]int{"web": 4711}, ipcDirs: []string{"/dev/mqueue", "/dev/shm"},
		accounts: accounts{
			passwd: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"),
			group:  []byte("root:x:0:\ndisk:x:6:root\napp:x:1000:\nextra:x:2000:app\n"),
		},
	}
}

func TestSpec(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(r *Record, f *facts)
	}{
		{"default", func(*Record, *facts) {}},
		{"root", func(r *Record, _ *facts) {
			r.Settings.User, r.Settings.GroupAdd, r.Settings.Terminal, r.Settings.Init = "0", []string{"extra", "77"}, true, true
			r.Settings.Env = []string{"PATH=/opt/bin", "EMPTY=", "LANG"}
			r.Settings.Ulimits = []Ulimit{{"nofile", 1024, 2048}}
			r.Settings.Command = []string{"run", "it"}
		}},
		{"limits", func(r *Record, f *facts) {
			swappiness := int64(10)
			r.Settings.Resources = Resources{
				Memory: 64 << 20, MemorySwappiness: &swappiness, NanoCPUs: 1_500_000_000, CpusetCpus: "0-1", PidsLimit: 50, CPUShares: 1, BlkioWeight: 100,
			}
			r.Settings.CgroupParent = "machines/test"
			f.devices = []hostDevice{
				{Device: Device{"/dev/fuse", "/dev/fuse", "rw"}, kind: "c", major: 10, minor: 229, mode: 0o666},
				{Device: Device{"/dev/fuse", "/dev/other", "rw"}, kind: "c", major: 10, minor: 229, mode: 0o666},
			}
		}},
		{"mounts", func(r *Record, _ *facts) {
			r.Mounts = []Mount{
				{Type: MountBind, Source: "/data", Target: "/srv/deep/data", ReadOnly: true},
				{Type: MountBind, Source: "/one", Target: "/one", NoRecursive: true, Propagation: "rslave", NoIDMap: true},
				{Type: MountVolume, Source: "vol", Target: "/srv"},
				{Type: MountBind, Source: "/my/hosts", Target: "/etc/hosts"},
				{Type: MountTmpfs, Target: "/cache", TmpfsSize: 1 << 20, TmpfsMode: 0o700},
			}
			r.Settings.Tmpfs = map[string]string{"/run": "size=1m,exec", "/dev/shm": ""}
			r.Settings.ReadOnly = true
		}},
		{"host-namespaces", func(r *Record, _ *facts) {
			r.Settings.Network, r.Settings.PidMode, r.Settings.IpcMode, r.Settings.UtsMode, r.Settings.CgroupnsMode = "host", "host", "host", "host", "host"
		}},
		{"join", func(r *Record, _ *facts) {
			r.Settings.Network, r.Settings.PidMode, r.Settings.IpcMode = "container:web", "container:web", "container:web"
		}},
		{"userns-host-privileged", func(r *Record, f *facts) {
			r.Settings.UsernsMode, r.Settings.Privileged, r.Range = "host", true, noRange
			f.uids, f.gids = nil, nil
		}},
		{"privileged", func(r *Record, _ *facts) { r.Settings.Privileged, r.Settings.User = true, "root" }},
		{"unconfined", func(r *Record, _ *facts) {
			r.Settings.SecurityOpt = []string{"seccomp=unconfined", "no-new-privileges=false", "systempaths=unconfined", "apparmor:unconfined", "label=disable"}
			r.Settings.CapDrop, r.Settings.CapAdd = []string{"all"}, []string{"net_raw", "CAP_SYS_PTRACE"}
			r.Settings.Sysctls = map[string]string{"net.core.somaxconn": "10", "kernel.shmmax": "1"}
		}},
		{"rootless-single-id", func(r *Record, f *facts) {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
			f.rootless, f.uids, f.gids, f.cgroups = true, m, m, cgroupFacts{}
			r.Range, r.Settings.User = noRange, "root"
			r.Mounts = []Mount{{Type: MountBind, Source: "/data", Target: "/data"}}
		}},
		{"host-image", func(r *Record, f *facts) {
			r.Builtin, r.Image, r.Layers, r.Settings.Command = "host", Defaults{}, []string{"/"}, []string{"bash"}
			f.hide = []string{"/var/lib/loper"}
		}},
		{"host-image-rootless", func(r *Record, f *facts) {
			m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}}
			f.rootless, f.uids, f.gids, f.hostDirs = true, m, m, []string{"/etc", "/usr"}
			f.noEtc = []string{"hosts"}
			r.Builtin, r.Image, r.Range, r.Settings.Command = "host", Defaults{}, noRange, []string{"bash"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, f := testRecord(), testFacts()
			test.change(r, f)
			s, err := r.spec(f)
			if err != nil {
				t.Fatal(err)
			}
			if s.Linux.Seccomp != nil {
				// Its own room tests it.
				s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: s.Linux.Seccomp.DefaultAction}
			}
			var got bytes.Buffer
			e := json.NewEncoder(&got)
			e.SetIndent("", "  ")
			if err := e.Encode(s); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "spec", test.name+".json")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSpecRefuses(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(r *Record, f *facts)
	}{
		{"unable to find user nobody-here", func(r *Record, _ *facts) { r.Settings.User = "nobody-here" }},
		{"neither a name nor a number", func(r *Record, _ *facts) { r.Settings.User = "+0" }},
		{"group after the colon is missing", func(r *Record, _ *facts) { r.Settings.User = "app:" }},
		{"outside the container's own range", func(r *Record, _ *facts) { r.Settings.User = "70000" }},
		{"outside the container's own range", func(r *Record, _ *facts) { r.Settings.GroupAdd = []string{"70000"} }},
		{"out of range", func(_ *Record, f *facts) { f.accounts.passwd = []byte("app:x:4294967295:0::/:\n") }},
		{"out of range", func(_ *Record, f *facts) { f.accounts.passwd = []byte("app:x:-1:0::/:\n") }},
		{"not an absolute path", func(r *Record, _ *facts) { r.Settings.WorkingDir = "srv" }},
		{"no command", func(r *Record, _ *facts) { r.Image.Entrypoint, r.Image.Cmd = nil, nil }},
		{"no command", func(r *Record, _ *facts) { r.Settings.Entrypoint = []string{""} }},
		{"zero byte", func(r *Record, _ *facts) { r.Settings.Command = []string{"a\x00b"} }},
		{"zero byte", func(r *Record, _ *facts) { r.Settings.Env = []string{"A=\x00"} }},
		{"is not NAME=value", func(r *Record, _ *facts) { r.Settings.Env = []string{"=x"} }},
		{"unknown capability", func(r *Record, _ *facts) { r.Settings.CapAdd = []string{"SYS_ROOT"} }},
		{"invalid security option", func(r *Record, _ *facts) { r.Settings.SecurityOpt = []string{"no-new-privileges=maybe"} }},
		{"unknown net mode", func(r *Record, _ *facts) { r.Settings.Network = "bridge" }},
		{"unknown uts mode", func(r *Record, _ *facts) { r.Settings.UtsMode = "container:web" }},
		{"not a container's", func(r *Record, _ *facts) { r.Settings.Sysctls = map[string]string{"kernel.core_pattern": "|/bin/sh"} }},
		{"not the container's own", func(r *Record, _ *facts) {
			r.Settings.Network, r.Settings.Sysctls = "host", map[string]string{"net.core.somaxconn": "1"}
		}},
		{"invalid host name", func(r *Record, _ *facts) { r.Settings.Hostname = "a b" }},
		{"at least 6 MiB", func(r *Record, _ *facts) { r.Settings.Memory = 1 }},
		{"needs a memory limit", func(r *Record, _ *facts) { r.Settings.MemorySwap = 1 << 30 }},
		{"excludes", func(r *Record, _ *facts) { r.Settings.NanoCPUs, r.Settings.CPUQuota = 1, 1000 }},
		{"invalid CPU set", func(r *Record, _ *facts) { r.Settings.CpusetCpus = "0\n1" }},
		{"unknown option", func(r *Record, _ *facts) { r.Settings.Tmpfs = map[string]string{"/x": "bind"} }},
		{"the container's own", func(r *Record, _ *facts) { r.Settings.Tmpfs = map[string]string{"/proc/": ""} }},
		{"two mounts", func(r *Record, _ *facts) {
			r.Mounts = []Mount{{Type: MountTmpfs, Target: "/x"}, {Type: MountTmpfs, Target: "/x"}}
		}},
	} {
		r, f := testRecord(), testFacts()
		test.change(r, f)
		if _, err := r.spec(f); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error with %q, got %v", test.want, err)
		}
	}
}

// What an image says is literal, checked, and never becomes an instruction.
func TestImageIsForeign(t *testing.T) {
	d, err := fromImage(oci.ImageConfig{
		Env: []string{"A=$(id) *", "LD_PRELOAD=/x.so"}, WorkingDir: "../../..//etc/", User: "1000",
		Labels:  map[string]string{OwnLabels + "log": "binary:///bin/sh", "ok": "yes"},
		Volumes: map[string]struct{}{"/b/": {}, "/b": {}, "/a": {}},
	})
	want := Defaults{
		Env: []string{"A=$(id) *", "LD_PRELOAD=/x.so"}, WorkingDir: "/etc", User: "1000",
		Labels: map[string]string{"ok": "yes"}, Volumes: []string{"/a", "/b"},
	}
	if diff := cmp.Diff(want, d); err != nil || diff != "" {
		t.Errorf("%v\n-want +got:\n%s", err, diff)
	}
	for _, bad := range []oci.ImageConfig{
		{Env: []string{"NOVALUE"}}, {Env: []string{"*"}}, {Env: []string{"=x"}}, {Env: []string{"A=\x00"}},
		{Cmd: []string{"a\x00"}}, {User: "a\x00"}, {WorkingDir: "/\x00"}, {StopSignal: "SIGNOPE"}, {StopSignal: "-9"},
		{Volumes: map[string]struct{}{"/": {}}}, {Volumes: map[string]struct{}{"/proc": {}}}, {Volumes: map[string]struct{}{"/x/../proc/self": {}}},
		{Volumes: map[string]struct{}{"/sys/fs": {}}}, {Volumes: map[string]struct{}{"/dev/shm": {}}}, {Volumes: map[string]struct{}{"rel": {}}},
	} {
		if _, err := fromImage(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A home directory of the image's cannot become two lines, or fields, of a file.
func TestHome(t *testing.T) {
	for home, want := range map[string]string{"/root": "/root", "": "/", "rel": "/", "/a\x00b": "/"} {
		if got := homeOf(home); got != want {
			t.Errorf("homeOf(%q) = %q, want %q", home, got, want)
		}
	}
}
