package runtime

import (
	"fmt"
	"slices"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimitNames are the resources of prlimit(2), in the order of their numbers.
var rlimitNames = [...]string{
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
}

// announceLimits asks the parent to set the limits and the standing with the
// schedulers: to raise one takes a right that the container doesn't have.
const announceLimits = "ready for its limits"

// fewFiles is the number of descriptors below which the rest of the program
// could run out of them; such a limit is set last, by the process itself.
const fewFiles = 256

func checkRlimits(p *specs.Process, field string) error {
	seen := map[string]bool{}
	for i, r := range p.Rlimits {
		at := fmt.Sprintf("%s.rlimits[%d]", field, i)
		switch {
		case rlimitNumber(r.Type) < 0:
			return badField(at+".type", "unknown limit %q", r.Type)
		case seen[r.Type]:
			return badField(at+".type", "%s is listed twice", r.Type)
		case r.Soft > r.Hard:
			return badField(at+".soft", "%d is higher than the hard limit %d", r.Soft, r.Hard)
		}
		seen[r.Type] = true
	}
	return nil
}

func rlimitNumber(name string) int { return slices.Index(rlimitNames[:], name) }

// limitsByParent compiles the wait for the parent to set the limits.
func (c *compiler) limitsByParent(p *specs.Process) {
	if len(p.Rlimits) > 0 || p.Scheduler != nil || p.IOPriority != nil {
		c.add(launch.Op{Call: launch.Announce, Text: announceLimits})
		c.p.Await("wait for the limits", 0)
	}
}

// limitsByItself compiles the limits that would hinder the rest.
func (c *compiler) limitsByItself(p *specs.Process, field string) {
	files := false
	for i, r := range p.Rlimits {
		files = files || r.Type == rlimitFiles
		if lowersFiles(r) {
			c.add(launch.Op{
				Call: launch.Prlimit, Args: []launch.Arg{launch.Int(0), launch.Int(rlimitNumber(r.Type)), launch.Words(launch.Int(r.Soft), launch.Int(r.Hard)), launch.Int(0)},
				Text: fmt.Sprintf("set %s to %d:%d", r.Type, r.Soft, r.Hard), Field: fmt.Sprintf("%s.rlimits[%d]", field, i),
			})
		}
	}
	if !files && c.host.Files > 0 {
		c.add(launch.Op{
			Call: launch.Prlimit, Args: []launch.Arg{launch.Int(0), launch.Int(unix.RLIMIT_NOFILE), launch.Words(launch.Int(min(usualFiles, c.host.Files)), launch.Int(c.host.Files)), launch.Int(0)},
			Text: "take back the limit of open files",
		})
	}
}

// rlimitFiles is the one limit that Go changes by itself: to the hard limit,
// at the start of every program. What it was before is not to be had, so a
// container that asks for nothing gets usualFiles, which the kernel and systemd
// begin with: many programs grow slow or break when there are a million.
const (
	rlimitFiles = "RLIMIT_NOFILE"
	usualFiles  = 1024
)

func lowersFiles(r specs.POSIXRlimit) bool { return r.Type == rlimitFiles && r.Soft < fewFiles }

// setLimits is the parent's part.
func setLimits(pid int, p *specs.Process, field string) error {
	if err := setIOPriority(pid, p.IOPriority, field+".ioPriority"); err != nil {
		return err
	}
	if err := setScheduler(pid, p.Scheduler, field+".scheduler"); err != nil {
		return err
	}
	return setRlimits(pid, p, field)
}

func setRlimits(pid int, p *specs.Process, field string) error {
	for i, r := range p.Rlimits {
		if lowersFiles(r) {
			continue
		}
		err := unix.Prlimit(pid, rlimitNumber(r.Type), &unix.Rlimit{Cur: r.Soft, Max: r.Hard}, nil)
		if err != nil {
			return badField(fmt.Sprintf("%s.rlimits[%d]", field, i), "set %s to %d:%d: %w", r.Type, r.Soft, r.Hard, err)
		}
	}
	return nil
}
