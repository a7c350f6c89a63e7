package cgroup

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestV2Controllers needs a machine (or a virtual one) whose controllers are all on cgroup v2.
func TestV2Controllers(t *testing.T) {
	m := onV2(t, "memory", "cpu", "pids")
	r := &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(40 << 20)), Swap: ptr(int64(40 << 20))},
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(5000)), Period: ptr(uint64(50000))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(30))},
	}
	if err := m.Set(r); err != nil {
		t.Fatal(err)
	}
	dir := m.Paths()[""]
	for file, want := range map[string]string{"memory.max": "41943040", "cpu.weight": "174", "cpu.max": "5000 50000", "pids.max": "30"} {
		if got := content(t, dir, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	p := start(t)
	if err := m.Add(p.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	p.do("mem 8")
	p.do("spin 200")
	s, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.CPU.Throttled == 0 || s.CPU.Total == 0 || s.Memory.Usage < 8<<20 || s.Memory.Limit != 40<<20 || s.Pids.Current == 0 || s.Pids.Limit != 30 {
		t.Errorf("%+v", s)
	}
	if err := m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(100000))}}); err != nil {
		t.Error(err)
	}
	if got := content(t, dir, "cpu.max"); got != "5000 100000" {
		t.Errorf("a new period makes cpu.max %q", got)
	}
	// The rest needs none of the quota's patience.
	if err := m.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}); err != nil {
		t.Error(err)
	}
	if a := p.do("fork 40"); !strings.Contains(a, "temporarily unavailable") {
		t.Errorf("40 processes under a limit of 30: %q", a)
	}
	if a := p.do("mem 100"); a != "" {
		t.Errorf("100 MiB fit in 40: %q", a)
	}
	if n, err := m.OOMKills(); n == 0 || err != nil {
		t.Errorf("oom kills %d, %v", n, err)
	}
}
