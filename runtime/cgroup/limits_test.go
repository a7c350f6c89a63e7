package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// show writes the settings one a line, with the alternative after a bar and a mark for what only lifts.
func show(l list) []string {
	var out []string
	for _, s := range l {
		line := s.controller + " " + s.file + "=" + s.value
		if s.or != nil {
			line += " | " + s.or.file + "=" + s.or.value
		}
		if s.lifts {
			line += " ?"
		}
		out = append(out, line)
	}
	return out
}

var everything = &specs.LinuxResources{
	Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), Reservation: ptr(int64(1 << 19)), Swap: ptr(int64(3 << 20))},
	CPU: &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(200000)), Burst: ptr(uint64(1000)),
		RealtimeRuntime: ptr(int64(950)), RealtimePeriod: ptr(uint64(1000)), Cpus: "0-1", Mems: "0", Idle: ptr(int64(0))},
	Pids: &specs.LinuxPids{Limit: ptr(int64(0))},
	BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(500)),
		WeightDevice:          []specs.LinuxWeightDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8}, Weight: ptr(uint16(1000))}},
		ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 1024}},
		ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{
			{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 0}}},
	HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4096}},
	Rdma:           map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(10000))}},
}

func TestLimitsV1(t *testing.T) {
	all := *everything
	all.Memory = &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), Reservation: ptr(int64(1 << 19)), Swap: ptr(int64(3 << 20)),
		Swappiness: ptr(uint64(10)), DisableOOMKiller: ptr(true), KernelTCP: ptr(int64(99))}
	all.Network = &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001)), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}}}
	got, err := limitsV1(&all)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"memory memory.limit_in_bytes=1048576",
		"memory memory.memsw.limit_in_bytes=3145728",
		"memory memory.soft_limit_in_bytes=524288",
		"memory memory.kmem.tcp.limit_in_bytes=99",
		"memory memory.swappiness=10",
		"memory memory.oom_control=1",
		"cpu cpu.idle=0 ?",
		"cpu cpu.shares=512",
		"cpu cpu.cfs_period_us=200000",
		"cpu cpu.cfs_quota_us=50000",
		"cpu cpu.cfs_burst_us=1000",
		"cpu cpu.rt_period_us=1000",
		"cpu cpu.rt_runtime_us=950",
		"cpuset cpuset.cpus=0-1",
		"cpuset cpuset.mems=0",
		"pids pids.max=0",
		"blkio blkio.bfq.weight=500 | blkio.weight=500",
		"blkio blkio.bfq.weight_device=8:0 1000 | blkio.weight_device=8:0 1000",
		"blkio blkio.throttle.read_bps_device=8:16 1024",
		"blkio blkio.throttle.write_iops_device=8:16 0",
		"hugetlb hugetlb.2MB.limit_in_bytes=4096",
		"hugetlb hugetlb.2MB.rsvd.limit_in_bytes=4096 ?",
		"net_cls net_cls.classid=1048577",
		"net_prio net_prio.ifpriomap=eth0 5",
		"rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
	}
	if d := cmp.Diff(want, show(got)); d != "" {
		t.Error(d)
	}
}

func TestLimitsV2(t *testing.T) {
	all := *everything
	all.Unified = map[string]string{"memory.high": "900000", "io.max": "8:0 rbps=1\n8:16 rbps=2\n", "cgroup.max.depth": "3"}
	got, err := limitsV2(&all, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"memory memory.max=1048576",
		"memory memory.swap.max=2097152",
		"memory memory.low=524288",
		"cpu cpu.idle=0 ?",
		"cpu cpu.weight=59",
		"cpu cpu.max=50000 200000",
		"cpu cpu.max.burst=1000",
		"cpu cpu.rt_period_us=1000",
		"cpu cpu.rt_runtime_us=950",
		"cpuset cpuset.cpus=0-1",
		"cpuset cpuset.mems=0",
		"pids pids.max=0",
		"io io.bfq.weight=500 | io.weight=4950",
		"io io.bfq.weight=8:0 1000 | io.weight=8:0 10000",
		"io io.max=8:16 rbps=1024",
		"io io.max=8:16 wiops=max",
		"hugetlb hugetlb.2MB.max=4096",
		"hugetlb hugetlb.2MB.rsvd.max=4096 ?",
		"rdma rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
		"cgroup cgroup.max.depth=3",
		"io io.max=8:0 rbps=1",
		"io io.max=8:16 rbps=2",
		"memory memory.high=900000",
	}
	if d := cmp.Diff(want, show(got)); d != "" {
		t.Error(d)
	}
}

func TestLimitsV2FromPresentValues(t *testing.T) {
	now := map[string]string{"cpu.max": "7000 100000\n", "memory.max": "1000\n", "memory.current": "500\n"}
	for _, c := range []struct {
		name string
		r    specs.LinuxResources
		want []string
	}{
		{"a period keeps the quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(50000))}}, []string{"cpu cpu.max=7000 50000"}},
		{"no quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}, []string{"cpu cpu.max=max ?"}},
		{"swap under the present limit", specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: ptr(int64(1500))}}, []string{"memory memory.swap.max=500"}},
		{"swap equal to memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(9)), Swap: ptr(int64(9))}},
			[]string{"memory memory.max=9", "memory memory.swap.max=0 ?"}},
		{"no limit at all", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}},
			[]string{"memory memory.max=max ?", "memory memory.swap.max=max ?"}},
		{"zeros say nothing", specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: ptr(int64(0)), Swap: ptr(int64(0))},
			CPU:    &specs.LinuxCPU{Shares: ptr(uint64(0)), Quota: ptr(int64(0)), Period: ptr(uint64(0))}}, nil},
		{"idle has no weight", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1)), Shares: ptr(uint64(100))}}, []string{"cpu cpu.idle=1"}},
		{"room enough", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(600)), CheckBeforeUpdate: ptr(true)}},
			[]string{"memory memory.max=600"}},
	} {
		got, err := limitsV2(&c.r, func(f string) string { return now[f] })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.want, show(got)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestLimitsRefused(t *testing.T) {
	for _, c := range []struct {
		mode  Mode
		field string
		r     specs.LinuxResources
	}{
		{V1, "linux.resources.unified", specs.LinuxResources{Unified: map[string]string{"memory.max": "1"}}},
		{V1, "linux.resources.hugepageLimits[0].pageSize", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}}}},
		{V1, "linux.resources.network.priorities[0].name", specs.LinuxResources{Network: &specs.LinuxNetwork{
			Priorities: []specs.LinuxInterfacePriority{{Name: "eth0 1\nlo", Priority: 1}}}}},
		{V1, `linux.resources.rdma["a b"]`, specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"a b": {}}}},
		{V2, "linux.resources.network", specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}}},
		{V2, "linux.resources.memory.swappiness", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(1))}}},
		{V2, "linux.resources.memory.disableOOMKiller", specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}}},
		{V2, "linux.resources.memory.kernelTCP", specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: ptr(int64(1))}}},
		{V2, "linux.resources.blockIO.leafWeight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr(uint16(10))}}},
		{V2, "linux.resources.network", specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo"}}}}},
		{V2, "linux.resources.memory.swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(9)), Swap: ptr(int64(8))}}},
		{V2, "linux.resources.memory.swap", specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: ptr(int64(8))}}},
		{V2, `linux.resources.unified["../x.y"]`, specs.LinuxResources{Unified: map[string]string{"../x.y": "1"}}},
		{V2, `linux.resources.unified["cgroup.procs"]`, specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}},
		{V2, `linux.resources.unified["cgroup.kill"]`, specs.LinuxResources{Unified: map[string]string{"cgroup.kill": "1"}}},
		{V2, `linux.resources.unified["memory"]`, specs.LinuxResources{Unified: map[string]string{"memory": "1"}}},
		{None, "linux.resources.memory.limit", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(9))}}},
		{None, "linux.resources.pids.limit", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(0))}}},
	} {
		var err error
		switch c.mode {
		case V1:
			_, err = limitsV1(&c.r)
		case V2:
			_, err = limitsV2(&c.r, func(string) string { return "" })
		default:
			err = none{}.Create(&c.r)
		}
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Field != c.field {
			t.Errorf("%v: %v, want an error for %s", c.mode, err, c.field)
		}
	}
	unlimited := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}, Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}, Devices: noDevices.Devices}
	if err := (none{}).Create(unlimited); err != nil {
		t.Errorf("no limit, no group: %v", err)
	}
}

func TestCPUWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 1: 1, 2: 1, 3: 2, 1000: 99, 1024: 100, 2000: 170, 2048: 174, 262143: 10000, 262144: 10000, 1 << 60: 10000} {
		if got := cpuWeight(shares); got != want {
			t.Errorf("cpuWeight(%d) = %d, want %d", shares, got, want)
		}
	}
	for w, want := range map[uint16]uint64{0: 1, 10: 1, 500: 4950, 1000: 10000} {
		if got := ioWeight(w); got != want {
			t.Errorf("ioWeight(%d) = %d, want %d", w, got, want)
		}
	}
}

// fakeV2 makes a directory tree with the files of a cgroup2 group that has the given controllers.
func fakeV2(t *testing.T, controllers string, files ...string) *v2 {
	root := t.TempDir()
	dir := filepath.Join(root, "box")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, "cgroup.controllers", "cgroup.subtree_control", "cgroup.procs", "cgroup.events") {
		for _, d := range []string{root, dir} {
			text := ""
			if f == "cgroup.controllers" {
				text = controllers + "\n"
			}
			if err := os.WriteFile(filepath.Join(d, f), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &v2{group: group{root, "box"}}
}

func TestV2FilesOfATree(t *testing.T) {
	m := fakeV2(t, "cpuset cpu memory pids", "memory.max", "memory.low", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus", "memory.high")
	r := &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(1 << 30)), Swap: ptr(int64(1 << 30))}, // no swap file: nothing to forbid
		CPU:     &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(5000)), Cpus: "1"},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(-1))},
		Unified: map[string]string{"memory.high": "77"},
	}
	if err := m.Create(r); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "1073741824", "cpu.weight": "100", "cpu.max": "5000",
		"pids.max": "max", "cpuset.cpus": "1", "memory.high": "77"} {
		if got := content(t, m.path(), file); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if got := content(t, m.root, "cgroup.subtree_control"); got != "+cpuset +cpu +memory +pids" {
		t.Errorf("handed down: %q", got)
	}
	for want, r := range map[string]*specs.LinuxResources{
		"linux.resources.cpu.realtimeRuntime: this kernel has no cpu.rt_runtime_us":           {CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(5))}},
		"linux.resources.blockIO.weight: cgroup " + m.path() + " has no io controller":        {BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10))}},
		"linux.resources.memory.swap: this kernel has no memory.swap.max":                     {Memory: &specs.LinuxMemory{Limit: ptr(int64(5)), Swap: ptr(int64(9))}},
		`linux.resources.unified["memory.nonsense"]: this kernel has no memory.nonsense`:      {Unified: map[string]string{"memory.nonsense": "1"}},
		`linux.resources.unified["misc.max"]: cgroup ` + m.path() + ` has no misc controller`: {Unified: map[string]string{"misc.max": "1"}},
	} {
		if err := m.Set(r); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestNobodyIsBornUnderALimitOfZero(t *testing.T) {
	m := fakeV2(t, "pids", "pids.max")
	for _, limit := range []int64{0, 1, -1} {
		born := limit != 0
		if err := m.Create(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}); err != nil {
			t.Fatal(err)
		}
		j, err := m.Join(nil)
		if err != nil {
			t.Fatal(err)
		}
		if (m.FD() >= 0) != born || (j.CloneFD >= 0) != born {
			t.Errorf("limit %d: FD %d, Join %+v", limit, m.FD(), j)
		}
		j.Close()
	}
}

func TestEnableExplainsWhatIsMissing(t *testing.T) {
	m := fakeV2(t, "")
	os.WriteFile(filepath.Join(m.root, "cgroup.controllers"), []byte("memory"), 0o644)
	// A directory in its place cannot be written, not even by root.
	os.Remove(filepath.Join(m.root, "cgroup.subtree_control"))
	os.Mkdir(filepath.Join(m.root, "cgroup.subtree_control"), 0o755)
	err := m.Create(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(5))}})
	if err == nil || !strings.Contains(err.Error(), "cgroup.subtree_control") {
		t.Errorf("%v", err)
	}
}

func TestApplyTriesAgain(t *testing.T) {
	// Values that wait for each other, as memory.limit_in_bytes and memsw do.
	var l list
	l.add("memory.limit", "memory", "limit", "9")
	l.add("memory.swap", "memory", "swap", "10")
	var order []string
	err := l.apply(func(s *setting) error {
		order = append(order, s.file)
		if s.file == "limit" && !slices.Contains(order, "swap") {
			return &os.PathError{Op: "write", Path: s.file, Err: os.NewSyscallError("write", unix.EINVAL)}
		}
		return nil
	})
	if err != nil || strings.Join(order, " ") != "limit swap limit" {
		t.Errorf("%v, %v", order, err)
	}
}
