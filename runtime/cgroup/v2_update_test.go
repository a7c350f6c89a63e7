package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// onV2 gives a manager on a machine whose controllers are on cgroup v2, with the controllers that a test needs.
func onV2(t *testing.T, controllers ...string) *v2 {
	t.Helper()
	if Detect() != V2 {
		t.Skipf("needs root or delegation on cgroup v2: this is %v", Detect())
	}
	m, err := New(unique(), V2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.Kill(syscall.SIGKILL)
		if err := m.Destroy(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Create(nil); err != nil {
		t.Fatal(err)
	}
	have := " " + content(t, m.Paths()[""], "cgroup.controllers") + " "
	for _, c := range controllers {
		if !strings.Contains(have, " "+c+" ") {
			t.Skipf("needs the %s controller, which is not delegated: there are%s", c, have)
		}
	}
	return m.(*v2)
}

// TestV2Update changes limits that depend on what is there, on a real v2 machine.
func TestV2Update(t *testing.T) {
	m := onV2(t, "memory", "cpu", "pids")
	for _, c := range []struct {
		r    *specs.LinuxResources
		want map[string]string
	}{
		{memory(64<<20, 96<<20), map[string]string{"memory.max": "67108864", "memory.swap.max": "33554432"}},
		{memory(0, 64<<20), map[string]string{"memory.max": "67108864", "memory.swap.max": "0"}},
		{memory(128<<20, 128<<20), map[string]string{"memory.max": "134217728", "memory.swap.max": "0"}},
		{memory(0, -1), map[string]string{"memory.max": "134217728", "memory.swap.max": "max"}},
		{memory(-1, 0), map[string]string{"memory.max": "max", "memory.swap.max": "max"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](20000), Period: ptr[uint64](50000)}}, map[string]string{"cpu.max": "20000 50000"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](30000)}}, map[string]string{"cpu.max": "30000 50000"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Burst: ptr[uint64](10000)}}, map[string]string{"cpu.max.burst": "10000"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](5000), Burst: ptr[uint64](5000)}}, map[string]string{"cpu.max": "5000 50000", "cpu.max.burst": "5000"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr[int64](-1)}}, map[string]string{"cpu.max": "max 50000"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr[int64](1), Shares: ptr[uint64](512)}}, map[string]string{"cpu.idle": "1"}},
		{&specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr[int64](0), Shares: ptr[uint64](512)}}, map[string]string{"cpu.idle": "0", "cpu.weight": "59"}},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](0)}}, map[string]string{"pids.max": "0"}},
		{&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](-1)}}, map[string]string{"pids.max": "max"}},
		{&specs.LinuxResources{Unified: map[string]string{"memory.high": "50000000", "memory.oom.group": "1"}}, map[string]string{"memory.high": "49999872", "memory.oom.group": "1"}},
	} {
		if err := m.Set(c.r); err != nil {
			t.Errorf("%v: %v", c.want, err)
		}
		for file, want := range c.want {
			if got := content(t, m.path(), file); got != want {
				t.Errorf("%s is %q, want %q", file, got, want)
			}
		}
	}
}

// TestV2FailedUpdateChangesNothing has the kernel take some limits and refuse the last.
func TestV2FailedUpdateChangesNothing(t *testing.T) {
	m := onV2(t, "memory", "cpu", "pids")
	if err := m.Set(memory(64<<20, 64<<20)); err != nil {
		t.Fatal(err)
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if got := p.do("mem 20"); got != "<nil>" {
		t.Fatal(got)
	}
	yes := true
	refuses(t, m, m.current, []string{"memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"}, map[string]func(*specs.LinuxResources){
		"less memory than is in use": func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: ptr[int64](4 << 20), CheckBeforeUpdate: &yes}
		},
		"an unknown file":    func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.nonsense": "1"} },
		"an unknown value":   func(r *specs.LinuxResources) { r.Unified = map[string]string{"pids.max": "many"} },
		"no such controller": func(r *specs.LinuxResources) { r.Unified = map[string]string{"nonsense.max": "1"} },
		"another group":      func(r *specs.LinuxResources) { r.Unified = map[string]string{"../memory.max": "1"} },
		"another file":       func(r *specs.LinuxResources) { r.Unified = map[string]string{"cgroup.procs": "1"} },
	})
}

func TestV2WatchOOM(t *testing.T) {
	m := onV2(t, "memory")
	if err := m.Set(memory(16<<20, 16<<20)); err != nil {
		t.Fatal(err)
	}
	watched(t, m, func() error { return nil }) // the end of the last process is the end
}

// TestV2IO limits a disk of the machine, whichever there is.
func TestV2IO(t *testing.T) {
	m := onV2(t, "io")
	disks, _ := filepath.Glob("/sys/block/*/dev")
	var disk, number string
	for _, d := range disks {
		if name := filepath.Base(filepath.Dir(d)); !strings.HasPrefix(name, "loop") && !strings.HasPrefix(name, "ram") {
			disk, number = name, content(t, filepath.Dir(d), "dev")
		}
	}
	if disk == "" {
		t.Skip("needs a disk")
	}
	var d specs.LinuxBlockIODevice
	if _, err := fmt.Sscanf(number, "%d:%d", &d.Major, &d.Minor); err != nil {
		t.Fatal(err)
	}
	throttle := func(rate uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: d, Rate: rate}}
	}
	r := &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(1 << 20), ThrottleWriteBpsDevice: throttle(2 << 20),
		ThrottleReadIOPSDevice: throttle(100), ThrottleWriteIOPSDevice: throttle(200)}}
	if err := m.Set(r); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, m.path(), "io.max"), number+" rbps=1048576 wbps=2097152 riops=100 wiops=200"; got != want {
		t.Errorf("io.max is %q, want %q", got, want)
	}
	if err := m.Set(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: throttle(0)}}); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, m.path(), "io.max"), number+" rbps=max wbps=2097152 riops=100 wiops=200"; got != want {
		t.Errorf("io.max is %q, want %q", got, want)
	}
	if m.current("io.weight")+m.current("io.bfq.weight") == "" {
		t.Log("no weights: this kernel has neither io.cost nor BFQ")
		return
	}
	if err := m.Set(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr[uint16](500)}}); err != nil {
		t.Fatal(err)
	}
	if got := m.current("io.bfq.weight"); got != "" && !strings.Contains(got, "500") {
		t.Errorf("io.bfq.weight is %q", got)
	} else if got = m.current("io.weight"); got != "" && m.current("io.bfq.weight") == "" && !strings.HasPrefix(got, "default 4950") {
		t.Errorf("io.weight is %q", got)
	}
}

func TestV2Hugepages(t *testing.T) {
	m := onV2(t, "hugetlb")
	if err := m.Set(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"} {
		if got := content(t, m.path(), file); got != "4194304" {
			t.Errorf("%s is %q", file, got)
		}
	}
	if s, err := m.Stats(); err != nil || s.Hugetlb["2MB"].Limit != 4<<20 || s.Hugetlb["2MB"].RsvdLimit != 4<<20 {
		t.Errorf("statistics %+v, %v", s, err)
	}
}

// TestBeside finds where a process may join a container whose group hands controllers down.
func TestBeside(t *testing.T) {
	m := onV2(t, "pids")
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	if sub := Beside(m, p.Process.Pid); sub != nil {
		t.Errorf("beside a process in the group itself: %v", sub)
	}
	for _, dir := range []string{"init", "other"} {
		if err := os.Mkdir(filepath.Join(m.path(), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Add(p.Process.Pid, Sub{"": "init"}); err != nil {
		t.Fatal(err)
	}
	if err := m.write("cgroup.subtree_control", "+pids"); err != nil {
		t.Fatal(err)
	}
	sub := Beside(m, p.Process.Pid)
	if sub[""] != "init" {
		t.Fatalf("beside a process in init: %v", sub)
	}
	for _, sub := range []Sub{sub, {"": "other"}} {
		j, err := m.Join(sub)
		if err != nil {
			t.Fatal(err)
		}
		if _, in := join(t, j); !strings.HasSuffix(in[""], m.rel+"/"+sub[""]) {
			t.Errorf("a process that joined %v is in %v", sub, in)
		}
		j.Close()
	}
	if _, err := m.Join(Sub{"pids": "init"}); err == nil {
		t.Error("a path for one controller is no error")
	}
}
