package runtime

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// process.scheduler and process.ioPriority. To raise either takes a right over
// the host that a container's root in a user namespace has not got, so the
// parent sets them, at the same time as the limits.

// schedulerPolicy is the SCHED_ constant of linux/sched.h; ok is false for a
// name that is none.
func schedulerPolicy(name specs.LinuxSchedulerPolicy) (policy uint32, ok bool) {
	switch name {
	case specs.SchedOther:
		return unix.SCHED_NORMAL, true
	case specs.SchedFIFO:
		return unix.SCHED_FIFO, true
	case specs.SchedRR:
		return unix.SCHED_RR, true
	case specs.SchedBatch:
		return unix.SCHED_BATCH, true
	case specs.SchedIdle:
		return unix.SCHED_IDLE, true
	case specs.SchedDeadline:
		return unix.SCHED_DEADLINE, true
	}
	return 0, false
}

// schedulerFlags in the order of their bits.
var schedulerFlags = [...]specs.LinuxSchedulerFlag{
	specs.SchedFlagResetOnFork, specs.SchedFlagReclaim, specs.SchedFlagDLOverrun, specs.SchedFlagKeepPolicy,
	specs.SchedFlagKeepParams, specs.SchedFlagUtilClampMin, specs.SchedFlagUtilClampMax,
}

func validateScheduler(s *specs.Scheduler, field string) error {
	if s == nil {
		return nil
	}
	realtime := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
	deadline := s.Policy == specs.SchedDeadline
	_, known := schedulerPolicy(s.Policy)
	switch {
	case s.Policy == "":
		return badField(field+".policy", "is missing")
	case s.Policy == specs.SchedISO:
		return badField(field+".policy", "SCHED_ISO is a reserved name: Linux has no such policy")
	case !known:
		return badField(field+".policy", "unknown policy %q", s.Policy)
	case s.Nice < -20 || s.Nice > 19:
		return badField(field+".nice", "%d is not in the range of -20 to 19", s.Nice)
	case realtime && (s.Priority < 1 || s.Priority > 99):
		return badField(field+".priority", "%d is not in the range of 1 to 99, which %s needs", s.Priority, s.Policy)
	case !realtime && s.Priority != 0:
		return badField(field+".priority", "is for SCHED_FIFO and SCHED_RR only")
	case !deadline && s.Runtime != 0:
		return badField(field+".runtime", "is for SCHED_DEADLINE only")
	case !deadline && s.Deadline != 0:
		return badField(field+".deadline", "is for SCHED_DEADLINE only")
	case !deadline && s.Period != 0:
		return badField(field+".period", "is for SCHED_DEADLINE only")
	case deadline && (s.Runtime == 0 || s.Runtime > s.Deadline):
		return badField(field+".runtime", "%d ns is not between 0 and the deadline of %d ns", s.Runtime, s.Deadline)
	case deadline && s.Period != 0 && s.Period < s.Deadline:
		return badField(field+".period", "%d ns is shorter than the deadline of %d ns", s.Period, s.Deadline)
	}
	for _, f := range s.Flags {
		if !slices.Contains(schedulerFlags[:], f) {
			return badField(field+".flags", "unknown flag %q", f)
		}
	}
	return nil
}

// setScheduler is sched_setattr(2) for another process.
func setScheduler(pid int, s *specs.Scheduler, field string) error {
	if s == nil {
		return nil
	}
	policy, _ := schedulerPolicy(s.Policy) // validated
	attr := unix.SchedAttr{Policy: policy, Nice: s.Nice, Priority: uint32(s.Priority), Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period}
	for _, f := range s.Flags {
		attr.Flags |= 1 << slices.Index(schedulerFlags[:], f)
	}
	err := unix.SchedSetAttr(pid, &attr, 0)
	switch {
	case err == unix.EPERM && s.Priority > 0:
		return badField(field, "set %s: %w (a group of cgroup v1 has no time for it without linux.resources.cpu.realtimeRuntime)", s.Policy, err)
	case err != nil:
		return badField(field, "set %s: %w", s.Policy, err)
	}
	return nil
}

// ioClasses in the order of their numbers in linux/ioprio.h, from 1 on.
var ioClasses = [...]specs.IOPriorityClass{specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE}

func validateIOPriority(p *specs.LinuxIOPriority, field string) error {
	switch {
	case p == nil:
	case !slices.Contains(ioClasses[:], p.Class):
		return badField(field+".class", "unknown class %q", p.Class)
	case p.Priority < 0 || p.Priority > 7:
		return badField(field+".priority", "%d is not in the range of 0 to 7", p.Priority)
	}
	return nil
}

// setIOPriority is ioprio_set(2) for another process; those that it starts
// inherit the priority.
func setIOPriority(pid int, p *specs.LinuxIOPriority, field string) error {
	if p == nil {
		return nil
	}
	const whoProcess, classShift = 1, 13
	class := slices.Index(ioClasses[:], p.Class) + 1
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, uintptr(pid), uintptr(class<<classShift|p.Priority)); errno != 0 {
		return badField(field, "set %s to %d: %w", p.Class, p.Priority, errno)
	}
	return nil
}
