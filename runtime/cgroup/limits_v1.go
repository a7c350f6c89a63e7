package cgroup

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// limitsV1 says which v1 file gets which value. For memory, cpu and block weights 0 means 'not set', as the peers read
// it (Docker's update sends 0 for what stays); for pids it is a limit (runtime-spec 1.3). memory.kernel, which kernels
// since 5.16 no longer have, and memory.useHierarchy, which they no longer let one choose, are passed over.
func limitsV1(r *specs.LinuxResources) (list, error) {
	var l list
	if r == nil {
		return nil, nil
	}
	if len(r.Unified) > 0 {
		return nil, &LimitError{"linux.resources.unified", errors.New("needs cgroup v2, and this machine's limits are on v1")}
	}
	if m := r.Memory; m != nil {
		memoryV1(&l, m)
	}
	if c := r.CPU; c != nil {
		cpuV1(&l, c)
	}
	if r.Pids != nil && r.Pids.Limit != nil {
		l.addLimit("pids.limit", "pids", "pids.max", *r.Pids.Limit, "max")
	}
	if b := r.BlockIO; b != nil {
		blkioV1(&l, b)
	}
	for i, h := range r.HugepageLimits {
		field := fmt.Sprintf("hugepageLimits[%d]", i)
		if err := checkPageSize(h.Pagesize); err != nil {
			return nil, &LimitError{"linux.resources." + field + ".pageSize", err}
		}
		v := strconv.FormatUint(h.Limit, 10)
		l.add(field, "hugetlb", "hugetlb."+h.Pagesize+".limit_in_bytes", v)
		l.add(field, "hugetlb", "hugetlb."+h.Pagesize+".rsvd.limit_in_bytes", v).lifts = true // since Linux 5.7
	}
	if n := r.Network; n != nil {
		if n.ClassID != nil && *n.ClassID != 0 {
			l.add("network.classID", "net_cls", "net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10))
		}
		for i, p := range n.Priorities {
			field := fmt.Sprintf("network.priorities[%d]", i)
			if err := checkWord(p.Name); err != nil {
				return nil, &LimitError{"linux.resources." + field + ".name", err}
			}
			l.add(field, "net_prio", "net_prio.ifpriomap", p.Name+" "+strconv.FormatUint(uint64(p.Priority), 10))
		}
	}
	err := rdmaLimits(&l, r.Rdma)
	return l, err
}

func memoryV1(l *list, m *specs.LinuxMemory) {
	if m.Limit != nil && *m.Limit != 0 {
		l.addLimit("memory.limit", "memory", "memory.limit_in_bytes", *m.Limit, "-1")
	}
	switch {
	case m.Swap != nil && *m.Swap != 0:
		l.addLimit("memory.swap", "memory", "memory.memsw.limit_in_bytes", *m.Swap, "-1")
	case m.Limit != nil && *m.Limit < 0:
		// Memory without limit under a limit for memory and swap together is refused: lift that one too.
		l.addLimit("memory.limit", "memory", "memory.memsw.limit_in_bytes", -1, "-1")
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		l.addLimit("memory.reservation", "memory", "memory.soft_limit_in_bytes", *m.Reservation, "-1")
	}
	if m.KernelTCP != nil && *m.KernelTCP != 0 {
		l.addLimit("memory.kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes", *m.KernelTCP, "-1")
	}
	if m.Swappiness != nil {
		l.add("memory.swappiness", "memory", "memory.swappiness", strconv.FormatUint(*m.Swappiness, 10))
	}
	if m.DisableOOMKiller != nil {
		v := "0"
		if *m.DisableOOMKiller {
			v = "1"
		}
		l.add("memory.disableOOMKiller", "memory", "memory.oom_control", v).lifts = v == "0"
	}
}

func cpuV1(l *list, c *specs.LinuxCPU) {
	idle := c.Idle != nil && *c.Idle > 0
	if c.Idle != nil {
		l.add("cpu.idle", "cpu", "cpu.idle", strconv.FormatInt(*c.Idle, 10)).lifts = *c.Idle == 0
	}
	if c.Shares != nil && *c.Shares != 0 && !idle { // an idle group has no weight, and the kernel refuses one
		l.add("cpu.shares", "cpu", "cpu.shares", strconv.FormatUint(*c.Shares, 10))
	}
	if c.Period != nil && *c.Period != 0 {
		l.add("cpu.period", "cpu", "cpu.cfs_period_us", strconv.FormatUint(*c.Period, 10))
	}
	if c.Quota != nil && *c.Quota != 0 {
		l.addLimit("cpu.quota", "cpu", "cpu.cfs_quota_us", *c.Quota, "-1")
	}
	if c.Burst != nil {
		l.add("cpu.burst", "cpu", "cpu.cfs_burst_us", strconv.FormatUint(*c.Burst, 10)).lifts = *c.Burst == 0
	}
	cpuEverywhere(l, c)
}

func blkioV1(l *list, b *specs.LinuxBlockIO) {
	// Weights belong to an I/O scheduler: BFQ has files of its own, CFQ (gone since Linux 5.0) had the plain ones.
	weight := func(field, file, value string) {
		s := l.add(field, "blkio", "blkio.bfq."+file, value)
		s.or = &setting{field: s.field, controller: s.controller, file: "blkio." + file, value: value}
	}
	if b.Weight != nil && *b.Weight != 0 {
		weight("blockIO.weight", "weight", strconv.Itoa(int(*b.Weight)))
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		weight("blockIO.leafWeight", "leaf_weight", strconv.Itoa(int(*b.LeafWeight)))
	}
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("blockIO.weightDevice[%d]", i)
		if d.Weight != nil {
			weight(field, "weight_device", device(d.LinuxBlockIODevice)+" "+strconv.Itoa(int(*d.Weight)))
		}
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			weight(field, "leaf_weight_device", device(d.LinuxBlockIODevice)+" "+strconv.Itoa(int(*d.LeafWeight)))
		}
	}
	for _, t := range throttles(b) {
		for i, d := range t.devices {
			l.add(fmt.Sprintf("blockIO.%s[%d]", t.field, i), "blkio", "blkio.throttle."+t.v1,
				device(d.LinuxBlockIODevice)+" "+strconv.FormatUint(d.Rate, 10))
		}
	}
}

// throttle is one of the four lists of rates, with its v1 file and its v2 key.
type throttle struct {
	field, v1, v2 string
	devices       []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) [4]throttle {
	return [4]throttle{
		{"throttleReadBpsDevice", "read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", "write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", "read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", "write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}
