package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// fullSpec has something in most fields.
func (b *box) fullSpec() {
	b.t.Helper()
	limit, shares, pids, score, weight := int64(64<<20), uint64(512), int64(50), 10, uint16(100)
	errno := uint(38)
	s := b.spec
	s.Domainname, s.Annotations = "example", map[string]string{"a": "b"}
	s.Process.OOMScoreAdj, s.Process.User.AdditionalGids = &score, []uint32{5}
	s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 100}}
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/mnt", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "mode=755", "nosuid"}},
		specs.Mount{Destination: "/opt", Type: "bind", Source: b.bundle, Options: []string{"rbind", "ro"}})
	s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true", Args: []string{"true"}, Env: []string{"A=B"}}}, Poststop: []specs.Hook{{Path: "/bin/true"}}}
	s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/other", Type: "c", Major: 1, Minor: 3}}
	s.Linux.RootfsPropagation = "private"
	s.Linux.Resources.Memory, s.Linux.Resources.CPU = &specs.LinuxMemory{Limit: &limit}, &specs.LinuxCPU{Shares: &shares, Cpus: "0"}
	s.Linux.Resources.Pids, s.Linux.Resources.BlockIO = &specs.LinuxPids{Limit: &pids}, &specs.LinuxBlockIO{Weight: &weight}
	s.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"getcwd"}, Action: specs.ActErrno, ErrnoRet: &errno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, Op: specs.OpEqualTo}}}},
	}
}

// places are all values of a document, as functions that replace them.
func places(path string, v any, set func(any), all map[string]func(any)) {
	if path != "" {
		all[path] = set
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			places(strings.TrimPrefix(path+"."+key, "."), v[key], func(x any) { v[key] = x }, all)
		}
	case []any:
		for i := range v {
			places(fmt.Sprintf("%s[%d]", path, i), v[i], func(x any) { v[i] = x }, all)
		}
	}
}

// Whatever stands in a field of config.json: lope either makes the container
// or says in a line what is wrong, with runc's exit status, and then nothing is
// left.
func TestBadConfig(t *testing.T) {
	b := newBox(t)
	b.fullSpec()
	b.program("true")
	b.want(0, "", "run", "c")
	whole, err := os.ReadFile(filepath.Join(b.bundle, "config.json"))
	b.must(err)
	before := b.host()
	values := []any{
		nil, "", "x", "/", "..", "/../../x", "a\nb", "\x00", strings.Repeat("y", 5000), 0, -1, 1.5, 1 << 40, float64(1 << 63), true, []any{}, map[string]any{},
		[]any{nil}, []any{1}, []any{"x"}, map[string]any{"x": "y"}, "1e999999999", "ÿ",
	}
	var document any
	b.must(json.Unmarshal(whole, &document))
	all := map[string]func(any){}
	places("", document, nil, all)
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	each := 2
	if testing.Short() {
		each = 1
	}
	failed := 0
	for _, path := range slices.Sorted(maps.Keys(all)) {
		for range each {
			value := values[random.IntN(len(values))]
			var document any
			b.must(json.Unmarshal(whole, &document))
			all := map[string]func(any){}
			places("", document, nil, all)
			all[path](value)
			data, err := json.Marshal(document)
			b.must(err)
			b.must(os.WriteFile(filepath.Join(b.bundle, "config.json"), data, 0o600))
			what := fmt.Sprintf("%s = %.60q", path, fmt.Sprint(value))
			r := b.lope("create", "c")
			switch {
			case r.code == 0:
				b.want(0, "", "delete", "--force", "c")
			case r.code != 1 && r.code != 126 && r.code != 127, strings.Count(r.err, "\n") != 1, !strings.HasPrefix(r.err, "lope: "), strings.Contains(r.err, "panic"):
				t.Errorf("%s: %+v", what, r)
			default:
				failed++
				// Whole sections were replaced, or the mistake shows elsewhere; a leaf is named.
				if !strings.Contains(r.err, "config.json") && !strings.Contains(r.err, "exec:") && !strings.Contains(r.err, "cgroup") {
					t.Errorf("%s: says %q", what, r.err)
				}
			}
			if entries, _ := os.ReadDir(b.root); len(entries) > 0 {
				t.Fatalf("%s: state is left: %v", what, entries)
			}
		}
	}
	b.clean(before, "all")
	t.Logf("%d of %d were refused", failed, each*len(all))
}

// What is no config.json at all.
func TestNoConfig(t *testing.T) {
	b := newBox(t)
	path := filepath.Join(b.bundle, "config.json")
	before := b.host()
	for says, content := range map[string]string{
		"line 1":                   "{",
		"line 2":                   "{\n}}",
		"unexpected end":           "",
		"ociVersion: is missing":   "{}",
		"invalid character":        "\x00\x01",
		"config.json":              "[]",
		"exceeded max depth":       strings.Repeat("[", 100_000),
		"larger than":              strings.Repeat(" ", 17<<20),
		"process.args: is a":       `{"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "process": {"args": "sh"}}`,
		"2.0.0":                    `{"ociVersion": "2.0.0"}`,
		"root: is missing":         `{"ociVersion": "1.0.0"}`,
		"linux.resources.pids":     `{"ociVersion": "1.0.0", "linux": {"resources": {"pids": {"limit": "many"}}}}`,
		"mounts[0].destination: i": `{"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "mounts": [{}]}`,
	} {
		b.must(os.WriteFile(path, []byte(content), 0o600))
		for _, command := range []string{"create", "run"} {
			b.want(1, says, command, "c")
		}
	}
	b.must(os.Remove(path))
	b.want(1, "no such file", "create", "c")
	for _, make := range []func() error{
		func() error { return os.Mkdir(path, 0o700) },
		func() error { return unix.Mkfifo(path, 0o600) },
		func() error { return os.Symlink("/dev/zero", path) },
	} {
		b.must(make())
		b.want(1, "no regular file", "create", "c")
		b.must(os.Remove(path))
	}
	b.clean(before, "all")
}
