package runtime

import (
	"os"
	"runtime"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func validateAffinity(a *specs.CPUAffinity, field string) error {
	if a == nil {
		return nil
	}
	for key, list := range map[string]string{"initial": a.Initial, "final": a.Final} {
		if list == "" {
			continue
		}
		if _, err := parseIDs(list); err != nil {
			return badField(field+"."+key, "%w", err)
		}
	}
	return nil
}

// cpus compiles the choice of CPUs once the process is in its cgroup. What the
// caller was confined to is no wish of the container's: its cgroup alone tells
// where it may run. (Since Linux 6.2 a process keeps what it was once confined
// to, whatever cgroup it enters.) A process of exec may be told otherwise.
func (c *compiler) cpus(p *specs.Process, field string) {
	text, set := "take all CPUs of the cgroup", allCPUs()
	if a := p.ExecCPUAffinity; c.set.exec && a != nil {
		if a.Final == "" {
			return // where it began, as far as the cgroup has that
		}
		text, field = "take the CPUs "+a.Final, field+".execCPUAffinity.final"
		set, _ = parseIDs(a.Final) // validated
	} else {
		field = ""
	}
	mask := set.bytes()
	op := launch.Op{Call: launch.SetAffinity, Args: []launch.Arg{launch.Int(0), launch.Int(len(mask)), launch.Bytes(mask)}, Text: text, Field: field}
	if field == "" { // not asked for, so no reason to fail
		op.Accept = []launch.Accept{{Errno: unix.EINVAL}, {Errno: unix.EPERM}, {Errno: unix.ENOSYS}}
	}
	c.add(op)
}

func allCPUs() idSet {
	all := make(idSet, maxIDs/64)
	for i := range all {
		all[i] = ^uint64(0)
	}
	return all
}

// onCPUs calls f on a thread that is confined to the CPUs of a list, which
// processes that it starts inherit.
func onCPUs(list, field string, f func() error) error {
	if list == "" {
		return f()
	}
	set, err := parseIDs(list)
	if err != nil {
		return badField(field, "%w", err)
	}
	during, before := unix.NewCPUSet(maxIDs), unix.NewCPUSet(maxIDs)
	for id := range 64 * len(set) {
		if set[id/64]>>(id%64)&1 != 0 {
			during.Set(id)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedGetaffinityDynamic(0, before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if err := unix.SchedSetaffinityDynamic(0, during); err != nil {
		return badField(field, "take the CPUs %s: %w", list, err)
	}
	err = f()
	if backErr := unix.SchedSetaffinityDynamic(0, before); err == nil && backErr != nil {
		err = os.NewSyscallError("sched_setaffinity", backErr)
	}
	return err
}
