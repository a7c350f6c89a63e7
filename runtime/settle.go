package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"loper.run/internal/userns"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// settle gives the new process what only its parent can: the ids of its user
// namespace, its standing with the OOM killer, and the prepared mounts.
func (s *starting) settle(p *launch.Process) error {
	devices := len(s.spec.Linux.NetDevices) > 0
	if s.ns.announced(devices || s.options.Network != nil) {
		if text, err := p.Next(); err != nil || text != announceUser {
			if err == nil {
				err = errors.New("the new namespaces didn't come up")
			}
			return err
		}
	}
	if err := s.connect(p); err != nil {
		return err
	}
	if s.ns.user {
		if err := s.writeIDs(p); err != nil {
			return badField("linux.uidMappings", "%w", err)
		}
	}
	if s.ns.time {
		if err := writeTimeOffsets(p.Pid(), s.spec.Linux.TimeOffsets); err != nil {
			return err
		}
	}
	if s.ns.user && s.spec.Process != nil && s.spec.Process.OOMScoreAdj != nil {
		if err := setOOMScore(p.Pid(), *s.spec.Process.OOMScoreAdj); err != nil {
			return err
		}
	}
	if err := s.moveDevices(p); err != nil {
		return err
	}
	if !s.ns.user && !s.ns.time && !devices && len(s.compiled.Handovers) == 0 {
		return nil
	}
	var user *os.File
	if has(s.spec, specs.UserNamespace) {
		user = s.files[namespaceInput(specs.UserNamespace)]
		if s.ns.user {
			f, err := os.Open("/proc/" + strconv.Itoa(p.Pid()) + "/ns/user")
			if err != nil {
				return err
			}
			defer f.Close()
			user = f
		}
	}
	mounts, err := prepareMounts(s.spec, s.options.settings(false), s.compiled.Handovers, s.compiled.nodes, user)
	if err != nil {
		return err
	}
	defer closeAll(mounts)
	return sendMounts(p, mounts)
}

// writeIDs gives the new user namespace its ids.
func (s *starting) writeIDs(p *launch.Process) error {
	if s.ns.nested {
		return userns.WriteNested(s.options.UserParent, p.Pid(), s.spec.Linux.UIDMappings, s.spec.Linux.GIDMappings)
	}
	return userns.Write(p.Pid(), s.spec.Linux.UIDMappings, s.spec.Linux.GIDMappings)
}

// writeProc writes a file of /proc, and of no other file system, in one write.
func writeProc(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is no file of a procfs", path)
	}
	_, err = f.WriteString(text)
	return err
}

func setOOMScore(pid, score int) error {
	if err := writeProc("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", strconv.Itoa(score)); err != nil {
		return badField("process.oomScoreAdj", "%w", err)
	}
	return nil
}

func writeTimeOffsets(pid int, offsets map[string]specs.LinuxTimeOffset) error {
	for clock, o := range offsets {
		text := fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs)
		if err := writeProc("/proc/"+strconv.Itoa(pid)+"/timens_offsets", text); err != nil {
			return badField("linux.timeOffsets."+clock, "%w", err)
		}
	}
	return nil
}
