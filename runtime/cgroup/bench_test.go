package cgroup

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var usual = &specs.LinuxResources{
	Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}},
	Memory:  &specs.LinuxMemory{Limit: ptr(int64(512 << 20))},
	CPU:     &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(100000))},
	Pids:    &specs.LinuxPids{Limit: ptr(int64(100))},
}

// BenchmarkLife is what a container's start and end cost here: New, Create with limits, Add or Join, Destroy. The
// medians of the parts are reported apart. With gap=300ms the kernel's lock for moving processes has cooled down, as it
// has for a user who starts a container now and then.
func BenchmarkLife(b *testing.B) {
	for name, r := range map[string]*specs.LinuxResources{"devices": noDevices, "limits": usual} {
		for _, way := range []string{"add", "join"} {
			for _, gap := range []time.Duration{0, 300 * time.Millisecond} {
				b.Run(name+"/"+way+"/gap="+gap.String(), func(b *testing.B) { benchmarkLife(b, r, way, gap) })
			}
		}
	}
}

func benchmarkLife(b *testing.B, r *specs.LinuxResources, way string, gap time.Duration) {
	needV1(b)
	var create, attach, destroy []time.Duration
	for b.Loop() {
		b.StopTimer()
		time.Sleep(gap)
		b.StartTimer()
		t0 := time.Now()
		m, err := New("/"+unique(), V1)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Create(r); err != nil {
			b.Fatal(err)
		}
		create = append(create, time.Since(t0))
		b.StopTimer()
		attach = append(attach, attachOne(b, m, way))
		b.StartTimer()
		t0 = time.Now()
		if err := m.Destroy(); err != nil {
			b.Fatal(err)
		}
		destroy = append(destroy, time.Since(t0))
	}
	for name, all := range map[string][]time.Duration{"create": create, "attach": attach, "destroy": destroy} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-"+name)
	}
}

// attachOne gives the time that moving one process into the groups takes; the process is gone on return.
func attachOne(b *testing.B, m Manager, way string) time.Duration {
	if way == "add" {
		c := exec.Command("sleep", "100")
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		t0 := time.Now()
		if err := m.Add(c.Process.Pid, nil); err != nil {
			b.Fatal(err)
		}
		took := time.Since(t0)
		_ = c.Process.Kill()
		_ = c.Wait()
		return took
	}
	t0 := time.Now()
	j, err := m.Join(nil)
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(t0)
	defer j.Close()
	self, _ := join(b, j)
	return took + self
}
