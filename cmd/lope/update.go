package main

import (
	"fmt"

	"loper.run/runtime"

	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"
)

// updating holds the flags of update.
type updating struct {
	file   string
	memory specs.LinuxMemory
	cpu    specs.LinuxCPU
	io     specs.LinuxBlockIO
	pids   specs.LinuxPids
	rdt    specs.LinuxIntelRdt
}

func updateCommand() command {
	var u updating
	return command{
		name: "update", args: "ID", short: "Change the limits of a container",
		long:  "The file given with --resources (- is standard input) has limits as linux.resources of config.json; other flags are then left aside. Sizes may have a unit: 512m, 2GiB; -1 is no limit.",
		flags: u.flags, run: u.run,
	}
}

func (u *updating) flags(f *pflag.FlagSet) {
	f.StringVarP(&u.file, "resources", "r", "", "file with the limits as JSON, or -")
	f.Var(number[uint16]{&u.io.Weight}, "blkio-weight", "weight of the container's reads and writes, 10 to 1000")
	f.Var(number[uint64]{&u.cpu.Period}, "cpu-period", "period of the processor limit, in microseconds")
	f.Var(number[int64]{&u.cpu.Quota}, "cpu-quota", "processor time in a period, in microseconds")
	f.Var(number[uint64]{&u.cpu.Burst}, "cpu-burst", "unused time that may be saved up, in microseconds")
	f.Var(number[uint64]{&u.cpu.Shares}, "cpu-share", "weight of the container's processor time")
	f.Var(number[uint64]{&u.cpu.RealtimePeriod}, "cpu-rt-period", "period of the realtime limit, in microseconds")
	f.Var(number[int64]{&u.cpu.RealtimeRuntime}, "cpu-rt-runtime", "realtime processor time in a period, in microseconds")
	f.Var(number[int64]{&u.cpu.Idle}, "cpu-idle", "1: run only when nothing else wants to; 0: as usual")
	f.StringVar(&u.cpu.Cpus, "cpuset-cpus", "", "processors to use, as in 0-2,4")
	f.StringVar(&u.cpu.Mems, "cpuset-mems", "", "memory nodes to use")
	f.Var(size{&u.memory.Limit}, "memory", "memory")
	f.Var(size{&u.memory.Reservation}, "memory-reservation", "memory to keep when it gets short")
	f.Var(size{&u.memory.Swap}, "memory-swap", "memory and swap together")
	for _, name := range []string{"kernel-memory", "kernel-memory-tcp"} {
		f.String(name, "", "has no effect: no kernel has these limits any more")
		f.Lookup(name).Hidden = true
	}
	f.Var(number[int64]{&u.pids.Limit}, "pids-limit", "processes; -1 is no limit")
	f.StringVar(&u.rdt.L3CacheSchema, "l3-cache-schema", "", "resctrl schema of the L3 cache")
	f.StringVar(&u.rdt.MemBwSchema, "mem-bw-schema", "", "resctrl schema of memory bandwidth")
}

func (u *updating) run(g *global, args []string) error {
	c, err := load(g, args)
	if err != nil {
		return err
	}
	r := &specs.LinuxResources{Memory: &u.memory, CPU: &u.cpu, BlockIO: &u.io, Pids: &u.pids}
	if u.file != "" {
		if r, err = runtime.LoadResources(u.file); err != nil {
			return err
		}
	}
	if err := c.Update(r); err != nil || u.rdt.L3CacheSchema == "" && u.rdt.MemBwSchema == "" {
		return err
	}
	return c.UpdateIntelRdt(u.rdt.L3CacheSchema, u.rdt.MemBwSchema)
}

// number is a flag that is nil unless it is given.
type number[T uint16 | uint64 | int64] struct{ to **T }

func (n number[T]) String() string {
	if n.to == nil || *n.to == nil {
		return ""
	}
	return fmt.Sprint(**n.to)
}

func (n number[T]) Type() string { return "number" }

func (n number[T]) Set(text string) error {
	var v T
	if _, err := fmt.Sscan(text, &v); err != nil || fmt.Sprint(v) != text {
		return fmt.Errorf("a number is expected")
	}
	*n.to = &v
	return nil
}

// size is a number of bytes that may have a unit.
type size struct{ to **int64 }

func (s size) String() string { return number[int64](s).String() }

func (s size) Type() string { return "size" }

func (s size) Set(text string) error {
	v, err := int64(-1), error(nil)
	if text != "-1" {
		v, err = units.RAMInBytes(text)
	}
	if err != nil {
		return err
	}
	*s.to = &v
	return nil
}
