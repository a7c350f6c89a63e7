package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// fakeV1 makes a directory for each controller with the files of a group: what this machine has no controller for.
func fakeV1(t *testing.T, files map[string]string) *v1 {
	t.Helper()
	root := t.TempDir()
	m := &v1{}
	for file, text := range files {
		controller, _, _ := strings.Cut(file, ".")
		dir := filepath.Join(root, controller, "box")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if m.find(controller) == nil {
			m.groups = append(m.groups, member{group{filepath.Join(root, controller), "box"}, []string{controller}})
		}
	}
	return m
}

// TestV1FakeTree writes the limits of controllers that most machines, this one among them, don't have on v1: into plain
// files, so it shows names and values and nothing of what a kernel makes of them.
func TestV1FakeTree(t *testing.T) {
	m := fakeV1(t, map[string]string{"hugetlb.2MB.limit_in_bytes": "", "hugetlb.2MB.rsvd.limit_in_bytes": "", "hugetlb.1GB.limit_in_bytes": "",
		"net_cls.classid": "", "net_prio.ifpriomap": "", "rdma.max": "", "blkio.weight": "", "blkio.leaf_weight": "", "blkio.bfq.weight_device": "",
		"blkio.throttle.read_bps_device": "", "blkio.throttle.write_iops_device": "", "cpu.rt_runtime_us": "", "cpu.rt_period_us": "", "cpu.idle": "", "cpu.shares": ""})
	if err := m.Set(&specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}, {Pagesize: "1GB", Limit: 1 << 30}},
		Network:        &specs.LinuxNetwork{ClassID: ptr[uint32](0x100001), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}}},
		Rdma:           map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr[uint32](3)}},
		BlockIO: &specs.LinuxBlockIO{Weight: ptr[uint16](300), LeafWeight: ptr[uint16](200),
			WeightDevice:            []specs.LinuxWeightDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8}, Weight: ptr[uint16](500)}},
			ThrottleReadBpsDevice:   []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 1024}},
			ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 8, Minor: 16}, Rate: 9}}},
		CPU: &specs.LinuxCPU{RealtimePeriod: ptr[uint64](1000), RealtimeRuntime: ptr[int64](950), Idle: ptr[int64](1), Shares: ptr[uint64](7)},
	}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb.2MB.rsvd.limit_in_bytes": "4194304",
		"hugetlb.1GB.limit_in_bytes": "1073741824", "net_cls.classid": "1048577", "net_prio.ifpriomap": "eth0 5", "rdma.max": "mlx5_1 hca_handle=3",
		"blkio.weight": "300", "blkio.leaf_weight": "200", "blkio.bfq.weight_device": "8:0 500", "blkio.throttle.read_bps_device": "8:16 1024",
		"blkio.throttle.write_iops_device": "8:16 9", "cpu.rt_runtime_us": "950", "cpu.rt_period_us": "1000", "cpu.idle": "1", "cpu.shares": ""} {
		if got := m.current(file); got != want {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	for want, r := range map[string]*specs.LinuxResources{
		"linux.resources.hugepageLimits[0]: this kernel has no hugetlb.64KB.limit_in_bytes":      {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "64KB", Limit: 1}}},
		"linux.resources.pids.limit: the pids controller is not mounted on this machine":         {Pids: &specs.LinuxPids{Limit: ptr[int64](1)}},
		"linux.resources.hugepageLimits[0].pageSize: \"../../x\" is not a page size such as 2MB": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../../x", Limit: 1}}},
		"linux.resources.unified: needs cgroup v2, and this machine's limits are on v1":          {Unified: map[string]string{"pids.max": "1"}},
		"linux.resources.network.priorities[0].name: \"a b\" is not a name":                      {Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "a b"}}}},
		"linux.resources.blockIO.weightDevice[0]: this kernel has no blkio.leaf_weight_device":   {BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LeafWeight: ptr[uint16](5)}}}},
	} {
		if err := m.Set(r); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestPresentValues shows how a failed change would be taken back, from the text that kernels give.
func TestPresentValues(t *testing.T) {
	texts := map[string]string{"memory.max": "max\n", "cpu.max": "max 100000\n", "cpuset.cpus": "\n", "io.weight": "default 100\n8:0 200\n",
		"io.max": "8:0 rbps=1 wbps=max riops=max wiops=max\n", "memory.oom_control": "oom_kill_disable 1\nunder_oom 0\n",
		"rdma.max": "mlx5_1 hca_handle=max hca_object=max\n", "blkio.throttle.read_bps_device": "8:0 5\n"}
	var l list
	for _, s := range [][2]string{{"memory.max", "5"}, {"cpu.max", "1 2"}, {"cpuset.cpus", "0"}, {"io.weight", "7"}, {"io.weight", "8:0 9"}, {"io.weight", "8:1 9"},
		{"io.max", "8:0 rbps=9"}, {"io.max", "8:1 rbps=9"}, {"memory.oom_control", "0"}, {"rdma.max", "mlx5_1 hca_handle=1"}, {"rdma.max", "none hca_handle=1"},
		{"blkio.throttle.read_bps_device", "8:0 9"}, {"blkio.throttle.read_bps_device", "8:9 9"}, {"missing", "1"}} {
		controller, _, _ := strings.Cut(s[0], ".")
		l.add("", controller, s[0], s[1])
	}
	l.add("", "io", "io.bfq.weight", "1").or = &setting{file: "io.weight", value: "2"}
	var got []string
	for _, s := range l.present(func(file string) string { return texts[file] }) {
		got = append(got, s.file+"="+s.value)
	}
	want := []string{"memory.max=max", "cpu.max=max 100000", "cpuset.cpus=\n", "io.weight=100", "io.weight=8:0 200", "io.weight=8:1 default",
		"io.max=8:0 rbps=1 wbps=max riops=max wiops=max", "io.max=8:1 rbps=max wbps=max riops=max wiops=max", "memory.oom_control=1",
		"rdma.max=mlx5_1 hca_handle=max hca_object=max", "blkio.throttle.read_bps_device=8:0 5", "blkio.throttle.read_bps_device=8:9 0", "io.weight=100"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestV1StatsOfFakeTree reads files with the text of a kernel, also of controllers that this machine lacks.
func TestV1StatsOfFakeTree(t *testing.T) {
	m := fakeV1(t, map[string]string{
		"cpuacct.usage": "30\n", "cpuacct.stat": "user 1\nsystem 2\n", "cpuacct.usage_percpu": "10 20 \n", "cpuacct.usage_all": "cpu user system\n0 1 2\n1 3 4\n",
		"cpu.stat":    "nr_periods 5\nnr_throttled 6\nthrottled_time 7\nnr_bursts 8\nburst_time 9\n",
		"cpuset.cpus": "0-1,3\n", "cpuset.mems": "0\n", "cpuset.sched_load_balance": "1\n", "cpuset.sched_relax_domain_level": "-1\n", "cpuset.memory_pressure": "4\n",
		"memory.usage_in_bytes": "100\n", "memory.limit_in_bytes": "9223372036854771712\n", "memory.max_usage_in_bytes": "200\n", "memory.failcnt": "3\n",
		"memory.stat": "cache 1\ntotal_cache 60\ntotal_rss 40\ntotal_inactive_file 30\ntotal_swap 5\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"memory.memsw.usage_in_bytes": "105\n", "memory.memsw.limit_in_bytes": "1000\n", "memory.memsw.max_usage_in_bytes": "300\n", "memory.memsw.failcnt": "1\n",
		"memory.kmem.usage_in_bytes": "11\n", "memory.kmem.limit_in_bytes": "9223372036854771712\n", "memory.kmem.tcp.usage_in_bytes": "12\n", "memory.kmem.tcp.limit_in_bytes": "13\n",
		"pids.current": "4\n", "pids.max": "max\n",
		"blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n", "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n",
		"hugetlb.2MB.usage_in_bytes": "1\n", "hugetlb.2MB.max_usage_in_bytes": "2\n", "hugetlb.2MB.limit_in_bytes": "3\n", "hugetlb.2MB.failcnt": "4\n",
		"rdma.current": "mlx5_1 hca_handle=2 hca_object=3\n", "rdma.max": "mlx5_1 hca_handle=max hca_object=9\n",
	})
	got, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	want := &Stats{
		CPU: CPUStats{Total: 30, User: tick, System: 2 * tick, PerCPU: []uint64{10, 20}, PerCPUUser: []uint64{1, 3}, PerCPUSystem: []uint64{2, 4},
			Periods: 5, Throttled: 6, ThrottledTime: 7, Bursts: 8, BurstTime: 9},
		CPUSet: CPUSetStats{CPUs: []uint16{0, 1, 3}, Mems: []uint16{0}, SchedLoadBalance: 1, SchedRelaxDomainLevel: -1, MemoryPressure: 4},
		Memory: MemoryStats{Usage: 100, WorkingSet: 70, Limit: NoLimit, Peak: 200, Failures: 3, Cache: 60, InactiveFile: 30, Anon: 40, Swap: 5, SwapLimit: 0,
			Both: MemoryUsage{105, 1000, 300, 1}, Kernel: MemoryUsage{Usage: 11, Limit: NoLimit}, KernelTCP: MemoryUsage{Usage: 12, Limit: 13},
			Raw: map[string]uint64{"cache": 1, "total_cache": 60, "total_rss": 40, "total_inactive_file": 30, "total_swap": 5}},
		Pids: PidsStats{4, NoLimit},
		IO: IOStats{Read: 10, Written: 20, Reads: 1, Writes: 2, ServiceBytes: []IOEntry{{8, 0, "Read", 10}, {8, 0, "Write", 20}, {8, 0, "Total", 30}},
			Serviced: []IOEntry{{8, 0, "Read", 1}, {8, 0, "Write", 2}}},
		Hugetlb:  map[string]HugetlbStats{"2MB": {Usage: 1, Peak: 2, Limit: 3, Failures: 4, RsvdLimit: NoLimit}},
		Rdma:     map[string]RdmaStats{"mlx5_1": {2, 3, NoLimit, 9}},
		OOMKills: 2,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestV2StatsOfFakeTree does the same for v2.
func TestV2StatsOfFakeTree(t *testing.T) {
	m := fakeV2(t, "cpu")
	const psi = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.50 total=7\n"
	for file, text := range map[string]string{
		"cpu.stat":     "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 5\nnr_throttled 6\nthrottled_usec 7\nnr_bursts 8\nburst_usec 9\n",
		"cpu.pressure": psi, "memory.pressure": psi, "io.pressure": psi, "cpuset.cpus": "2\n",
		"memory.current": "100\n", "memory.max": "1000\n", "memory.peak": "200\n", "memory.swap.current": "5\n", "memory.swap.max": "max\n",
		"memory.stat": "anon 40\nfile 60\ninactive_file 30\n", "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
		"pids.current": "4\n", "pids.max": "9\n", "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=3 dios=4\n\n8:16\n",
		"hugetlb.2MB.current": "1\n", "hugetlb.2MB.max": "max\n", "hugetlb.2MB.events": "max 4\n", "hugetlb.2MB.rsvd.current": "5\n", "hugetlb.2MB.rsvd.max": "6\n",
		"rdma.current": "mlx5_1 hca_handle=2 hca_object=3\n", "rdma.max": "mlx5_1 hca_handle=max hca_object=9\n",
	} {
		if err := os.WriteFile(filepath.Join(m.path(), file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.Stats()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pressure{PressureLine{1.5, 0.25, 0, 77}, PressureLine{0, 0, 0.5, 7}}
	want := &Stats{
		CPU:    CPUStats{Total: 30000, User: 10000, System: 20000, Periods: 5, Throttled: 6, ThrottledTime: 7000, Bursts: 8, BurstTime: 9000, Pressure: p},
		CPUSet: CPUSetStats{CPUs: []uint16{2}},
		Memory: MemoryStats{Usage: 100, WorkingSet: 70, Limit: 1000, Peak: 200, Failures: 3, Cache: 60, InactiveFile: 30, Anon: 40, Swap: 5, SwapLimit: NoLimit,
			Both: MemoryUsage{Usage: 105, Limit: NoLimit}, Raw: map[string]uint64{"anon": 40, "file": 60, "inactive_file": 30},
			Events: map[string]uint64{"low": 0, "high": 0, "max": 3, "oom": 2, "oom_kill": 1}, Pressure: p},
		Pids: PidsStats{4, 9},
		IO: IOStats{Read: 10, Written: 20, Reads: 1, Writes: 2, ServiceBytes: []IOEntry{{8, 0, "Read", 10}, {8, 0, "Write", 20}, {8, 0, "Discard", 3}},
			Serviced: []IOEntry{{8, 0, "Read", 1}, {8, 0, "Write", 2}, {8, 0, "Discard", 4}}, Pressure: p},
		Hugetlb:  map[string]HugetlbStats{"2MB": {Usage: 1, Limit: NoLimit, Failures: 4, RsvdUsage: 5, RsvdLimit: 6}},
		Rdma:     map[string]RdmaStats{"mlx5_1": {2, 3, NoLimit, 9}},
		OOMKills: 1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
