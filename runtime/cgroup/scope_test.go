package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"loper.run/runtime/cgroup/systemd"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var strictDevices = map[string]string{
	"DevicePolicy": `"strict"`,
	"DeviceAllow": `@a(ss) [][["char-*", "m"], ["block-*", "m"], ["/dev/char/1:3", "rwm"], ["/dev/char/1:5", "rwm"], ["/dev/char/1:7", "rwm"], ` +
		`["/dev/char/1:8", "rwm"], ["/dev/char/1:9", "rwm"], ["/dev/char/5:0", "rwm"], ["/dev/char/5:2", "rwm"], ["char-136", "rwm"]]`,
}

// TestScopeProperties shows exactly what systemd is told, on a bus of the test's own.
func TestScopeProperties(t *testing.T) {
	common := func(io string) map[string]string {
		return map[string]string{"Description": `"container c1"`, "Slice": `"a-b.slice"`, "Delegate": "true", "PIDs": "@au [42]",
			"DefaultDependencies": "false", "MemoryAccounting": "true", "CPUAccounting": "true", io: "true", "TasksAccounting": "true"}
	}
	inf := "@t 18446744073709551615"
	for name, c := range map[string]struct {
		v1, user bool
		version  string
		r        *specs.LinuxResources
		want     map[string]string
	}{
		"nothing": {want: strictDevices},
		"v1": {v1: true, r: &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: ptr[int64](1 << 20), Swap: ptr[int64](2 << 20)},
			CPU:    &specs.LinuxCPU{Shares: ptr[uint64](512), Quota: ptr[int64](15000), Period: ptr[uint64](100000), Cpus: "0-3,9", Mems: "0"},
			Pids:   &specs.LinuxPids{Limit: ptr[int64](0)}, BlockIO: &specs.LinuxBlockIO{Weight: ptr[uint16](300)},
		}, want: map[string]string{"MemoryLimit": "@t 1048576", "CPUShares": "@t 512", "CPUQuotaPerSecUSec": "@t 150000", "CPUQuotaPeriodUSec": "@t 100000",
			"TasksMax": "@t 1", "BlockIOWeight": "@t 300", "AllowedCPUs": `@ay [0xf, 0x2]`, "AllowedMemoryNodes": "@ay [0x1]"}},
		"v2": {r: &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: ptr[int64](1 << 20), Swap: ptr[int64](3 << 20), Reservation: ptr[int64](4096)},
			CPU:    &specs.LinuxCPU{Shares: ptr[uint64](1024), Quota: ptr[int64](12345)},
			Pids:   &specs.LinuxPids{Limit: ptr[int64](-1)}, BlockIO: &specs.LinuxBlockIO{Weight: ptr[uint16](10)},
			Unified: map[string]string{"memory.high": "5000", "memory.oom.group": "1", "cpuset.mems": "0"},
		}, want: map[string]string{"MemoryMax": "@t 1048576", "MemorySwapMax": "@t 2097152", "MemoryLow": "@t 4096", "MemoryHigh": "@t 5000",
			"CPUWeight": "@t 100", "CPUQuotaPerSecUSec": "@t 130000", "TasksMax": inf, "IOWeight": "@t 1", "AllowedMemoryNodes": "@ay [0x1]"}},
		"lifted": {r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](-1)}, CPU: &specs.LinuxCPU{Quota: ptr[int64](-1)}},
			want: map[string]string{"MemoryMax": inf, "MemorySwapMax": inf, "CPUQuotaPerSecUSec": inf}},
		"unified overrides": {r: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](1 << 20)}, Unified: map[string]string{"memory.max": "max", "cpu.weight": "7"}},
			want: map[string]string{"MemoryMax": inf, "CPUWeight": "@t 7"}},
		"idle":              {r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr[int64](1)}}, want: map[string]string{"CPUWeight": "@t 0"}},
		"idle, old systemd": {version: "251", r: &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr[int64](1)}}, want: map[string]string{}},
		"group kill":        {version: "v253.1", r: &specs.LinuxResources{Unified: map[string]string{"memory.oom.group": "0"}}, want: map[string]string{"OOMPolicy": `"continue"`}},
		"devices": {r: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"},
			{Allow: true, Type: "b", Major: ptr[int64](8), Minor: ptr[int64](1), Access: "r"}, {Allow: true, Type: "c", Major: ptr[int64](10), Access: "rw"}}},
			want: map[string]string{"DeviceAllow": strings.Replace(strictDevices["DeviceAllow"], "[][", `[][["/dev/block/8:1", "r"], ["char-10", "rw"], `, 1)}},
		"all devices":     {r: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}, want: map[string]string{"DevicePolicy": `"auto"`, "DeviceAllow": "@a(ss) []@a(ss) []"}},
		"all but one, v2": {r: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, {Type: "b", Major: ptr[int64](8), Access: "rwm"}}}, want: map[string]string{"DevicePolicy": `"auto"`, "DeviceAllow": "@a(ss) []@a(ss) []"}},
		"user":            {user: true, r: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](9)}}, want: map[string]string{"TasksMax": "@t 9"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeSystemd(t)
			if c.version != "" {
				f.version = c.version
			}
			s, err := newScope(t.TempDir(), "a-b.slice:x:y", "c1", map[string]string{"org.systemd.property.CollectMode": "'inactive'"}, V2, c.user, []string{f.address})
			if err != nil {
				t.Fatal(err)
			}
			io := "IOAccounting"
			if c.v1 {
				s.Manager, io = &v1{groups: []member{{group{t.TempDir(), "x"}, []string{"memory", "cpu", "pids", "blkio", "cpuset"}}}}, "BlockIOAccounting"
			}
			s.resources = c.r
			err = s.ask(func(b *systemd.Bus) error {
				p, err := s.properties(b, 42)
				if err != nil {
					return err
				}
				return b.Start(s.unit.Name, p)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := common(io)
			want["CollectMode"] = `"inactive"`
			for _, m := range []map[string]string{strictDevices, c.want} {
				for k, v := range m {
					if !c.user || !strings.HasPrefix(k, "Device") {
						want[k] = v
					}
				}
			}
			got := f.last("StartTransientUnit")
			if d := cmp.Diff(want, got.properties); d != "" || got.unit != "x-y.scope" {
				t.Errorf("unit %s (- wanted, + sent):\n%s", got.unit, d)
			}
		})
	}
}

// What systemd cannot hold is refused on v1, where its list of devices is the only one.
func TestScopeRefusesDevicesV1(t *testing.T) {
	for _, d := range [][]specs.LinuxDeviceCgroup{
		{{Allow: true, Access: "rwm"}, {Type: "b", Major: ptr[int64](8), Access: "rwm"}},
		{{Access: "rwm"}, {Allow: true, Type: "c", Minor: ptr[int64](3), Access: "r"}},
	} {
		if p, err := deviceProperties(&specs.LinuxResources{Devices: d}, true); err == nil {
			t.Errorf("%v: %v, want an error", d, p)
		}
	}
}

// TestScopeOnHost lets a systemd of the test's own make groups in this machine's real hierarchies.
func TestScopeOnHost(t *testing.T) {
	needV1(t)
	f := newFakeSystemd(t)
	name := unique()
	s, err := newScope(mountRoot, "loper-test.slice::"+name, "c1", nil, V1, false, []string{f.address})
	if err != nil {
		t.Fatal(err)
	}
	paths := s.Paths()
	f.start = func(_ string, pids []uint32) string {
		for _, c := range []string{"memory", "devices", "name=systemd"} {
			if dir := paths[c]; dir != "" {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(int(pids[0]))), 0); err != nil {
					t.Error(err)
				}
			}
		}
		return "done"
	}
	t.Cleanup(func() {
		for _, dir := range paths {
			_ = os.Remove(filepath.Dir(dir))
		}
	})
	p := start(t)
	if err := s.Create(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](64 << 20)}, Pids: &specs.LinuxPids{Limit: ptr[int64](50)}}); err != nil {
		t.Fatal(err)
	}
	missing(t, s)
	if j, err := s.Join(nil); err != nil || !j.ByParent || j.CloneFD >= 0 || len(j.Tasks) > 0 {
		t.Errorf("Join = %+v, %v: nothing to join yet", j, err)
	}
	if err := s.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Manager.Kill(syscall.SIGKILL); _ = s.Manager.Destroy() })
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for c, own := range parseOwn(string(b)) {
		if dir := paths[c]; dir != "" && !strings.HasSuffix(dir, own) {
			t.Errorf("%q: the process is in %s, not in %s", c, own, dir)
		}
	}
	if got := content(t, paths["memory"], "memory.limit_in_bytes"); got != "67108864" {
		t.Errorf("memory limit %s", got)
	}
	if got := p.do("open /dev/kmsg"); !strings.Contains(got, "not permitted") {
		t.Errorf("/dev/kmsg: %s", got)
	}
	if got := p.do("open /dev/null"); got != "<nil>" {
		t.Errorf("/dev/null: %s", got)
	}

	// What another command does: by the record.
	again, err := Load(paths, s.Unit())
	if err != nil {
		t.Fatal(err)
	}
	again.(*scope).bus = []string{f.address}
	if err := again.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](128 << 20)}}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"MemoryLimit": "@t 134217728"}, f.last("SetUnitProperties").properties); d != "" {
		t.Error(d)
	}
	if got := content(t, paths["memory"], "memory.limit_in_bytes"); got != "134217728" {
		t.Errorf("memory limit after the update %s", got)
	}
	if got := p.do("open /dev/kmsg"); !strings.Contains(got, "not permitted") {
		t.Errorf("/dev/kmsg after the update: %s", got)
	}
	// A limit that the kernel refuses changes nothing, and systemd gets back what it had.
	err = again.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr[int64](100 << 20)}, Pids: &specs.LinuxPids{Limit: ptr[int64](1 << 40)}})
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Errorf("a pids limit of 2^40: %v", err)
	}
	if d := cmp.Diff(map[string]string{"MemoryLimit": "@t 134217728", "TasksMax": "@t 50"}, f.last("SetUnitProperties").properties); d != "" {
		t.Error(d)
	}
	if got := content(t, paths["memory"], "memory.limit_in_bytes"); got != "134217728" {
		t.Errorf("memory limit after a failed update %s", got)
	}
	if err := again.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = p.Wait()
	if err := again.Destroy(); err != nil {
		t.Error(err)
	}
	if got := f.last("StopUnit"); got.unit != name+".scope" {
		t.Errorf("stopped %+v", got)
	}
	f.last("ResetFailedUnit")
	missing(t, s)
	if err := again.Destroy(); err != nil {
		t.Errorf("destroyed twice: %v", err)
	}
}

// TestScopeOfAnother starts a unit whose name is taken: nothing of it may be touched.
func TestScopeOfAnother(t *testing.T) {
	f := newFakeSystemd(t)
	f.units["x-y.scope"] = true
	f.stop = func(unit string) { t.Errorf("the other's unit %s was stopped", unit) }
	s, err := newScope(t.TempDir(), ":x:y", "c1", nil, V2, false, []string{f.address})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(os.Getpid(), nil); err == nil || !strings.Contains(err.Error(), "there is one of that name") {
		t.Errorf("Add = %v", err)
	}
	if err := s.Kill(syscall.SIGKILL); err != nil { // of this test, were it in the unit
		t.Error(err)
	}
	if err := s.Destroy(); err != nil {
		t.Error(err)
	}
}

func TestScopeFailures(t *testing.T) {
	f := newFakeSystemd(t)
	f.start = func(string, []uint32) string { return "failed" }
	s, err := newScope(t.TempDir(), "", "c1", nil, V2, true, []string{"unix:path=/nowhere/bus", f.address})
	if err != nil {
		t.Fatal(err)
	}
	if want := "/user.slice/user-1000.slice/user@1000.service/user.slice/lope-c1.scope"; !strings.HasSuffix(s.Paths()[""], want) {
		t.Errorf("the group is %s, want …%s", s.Paths()[""], want)
	}
	if err := s.Add(os.Getpid(), nil); err == nil || !strings.Contains(err.Error(), `"failed"`) {
		t.Errorf("Add = %v", err)
	}
	f.start = func(string, []uint32) string { return "done" } // and makes nothing
	if err := s.Add(os.Getpid(), nil); err == nil {
		t.Error("Add: a unit without a group is no error")
	}
	if err := s.Add(os.Getpid(), Sub{"": "below/it"}); err != nil {
		t.Error(err)
	}
	if got := f.last("AttachProcessesToUnit"); got.unit != "lope-c1.scope" || got.args != fmt.Sprintf(`"/below/it" @au [%d] `, os.Getpid()) {
		t.Errorf("attached %+v", got)
	}
	if _, err := newScope(t.TempDir(), "", "c1", nil, V1, true, []string{f.address}); err == nil {
		t.Error("a user's systemd on v1 is no error")
	}
	if _, err := newScope(t.TempDir(), "/a/b", "c1", nil, V2, false, []string{f.address}); err == nil || !strings.Contains(err.Error(), "slice:prefix:name") {
		t.Errorf("a plain path: %v", err)
	}
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		if _, err := NewScope("", "c1", nil, false); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("without systemd: %v", err)
		} else {
			t.Log(err)
		}
	}
}
