package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"loper.run/runtime/criu"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What criu calls namespaces that are not the container's own.
const (
	externalNet = "extRootNetNS"
	externalPid = "extRootPidNS"
)

// Checkpoint has criu write the container's processes to images. They end then,
// unless LeaveRunning or PreDump say otherwise; the container is there until it
// is deleted.
func (c *Container) Checkpoint(k CRIU) error {
	lock, err := c.locked()
	if err != nil {
		return err
	}
	defer lock.Close()
	if status := c.statusOfMade(); status != specs.StateRunning && status != StatusPaused {
		return fmt.Errorf("container %q is %s: only a running or paused container can be checkpointed", c.state.ID, status)
	}
	spec, err := c.Spec()
	if err != nil {
		return err
	}
	o, err := c.dumpOptions(&k, spec)
	if err != nil {
		return err
	}
	p, err := startCRIU(k.Program, criuStart{stdin: k.stdin()})
	if err != nil {
		return err
	}
	defer p.end()
	kind := criu.Dump
	if k.PreDump {
		kind = criu.PreDump
	}
	err = criu.Call(p.socket, kind, o, func(criu.Notification) error { return nil })
	if err != nil {
		return explainCRIU(err, &k, o)
	}
	return nil
}

func (c *Container) dumpOptions(k *CRIU, spec *specs.Spec) (*criu.Options, error) {
	o, err := k.options(spec, "dump.log")
	if err != nil {
		return nil, err
	}
	o.Pid, o.Root = c.state.Pid, c.state.Rootfs
	o.TrackMem = k.PreDump
	if err := refuseIDMaps(spec); err != nil {
		return nil, err
	}
	mounts, err := mountsOf(c.state.Pid)
	if err != nil {
		return nil, err
	}
	if o.External, err = externalMounts(mounts); err != nil {
		return nil, err
	}
	namespaces, err := c.externalNamespaces(spec)
	if err != nil {
		return nil, err
	}
	o.External = append(o.External, namespaces...)
	m, err := c.Cgroup()
	if err != nil {
		return nil, err
	}
	o.FreezeCgroup = freezer(m.Paths())
	if k.PreDump {
		return o, nil
	}
	streams, err := c.streamNames(mounts)
	if err != nil {
		return nil, err
	}
	for _, name := range streams {
		if externalStream(name) {
			o.External = append(o.External, name)
		}
	}
	if err := c.writeBound(o.Images); err != nil {
		return nil, err
	}
	return o, writeStreams(o.Images, streams)
}

func mountsOf(pid int) ([]*mountinfo.Info, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return mountinfo.GetMountsFromReader(f, nil)
}

// freezer is the group by which criu stops the processes.
func freezer(groups map[string]string) string {
	if dir, ok := groups["freezer"]; ok {
		return dir
	}
	if dir, ok := groups[""]; ok && len(groups) == 1 {
		return dir
	}
	return ""
}

// refuseIDMaps refuses what criu would restore without its mappings.
func refuseIDMaps(spec *specs.Spec) error {
	for i, m := range spec.Mounts {
		if wantsIDMap(m) {
			return badField(fmt.Sprintf("mounts[%d]", i), "is id-mapped, which criu can't restore")
		}
	}
	return nil
}

// externalMounts are those of the container's mounts of file systems that are the host's too. criu doesn't look into them; at a restore they come from where
// config.json says. They are called by their place in the container.
func externalMounts(mounts []*mountinfo.Info) ([]string, error) {
	ours, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, err
	}
	shared := map[[2]int]bool{}
	for _, m := range ours {
		shared[[2]int{m.Major, m.Minor}] = true
	}
	var external []string
	for _, m := range mounts {
		if m.Mountpoint != "/" && shared[[2]int{m.Major, m.Minor}] {
			external = append(external, "mnt["+m.Mountpoint+"]:"+m.Mountpoint)
		}
	}
	return external, nil
}

// externalNamespaces are those that the container joined and criu can leave
// alone.
func (c *Container) externalNamespaces(spec *specs.Spec) ([]string, error) {
	var external []string
	for _, ns := range spec.Linux.Namespaces {
		key := externalNamespace(ns)
		if key == "" {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat("/proc/"+strconv.Itoa(c.state.Pid)+"/ns/"+namespaceFile(ns.Type), &st); err != nil {
			return nil, os.NewSyscallError("look at the namespaces", err)
		}
		external = append(external, fmt.Sprintf("%s[%d]:%s", namespaceFile(ns.Type), st.Ino, key))
	}
	return external, nil
}

// externalNamespace is what criu calls a namespace of config.json, or "".
func externalNamespace(ns specs.LinuxNamespace) string {
	switch {
	case ns.Path == "":
	case ns.Type == specs.NetworkNamespace:
		return externalNet
	case ns.Type == specs.PIDNamespace:
		return externalPid
	}
	return ""
}

// maxCRIULog bounds what is read of criu's log for the reason of a failure.
const maxCRIULog = 1 << 20

// explainCRIU says in one line why criu failed. Its own answer seldom does: it
// is empty where criu can't begin, for which 'criu check' has the reason.
func explainCRIU(err error, k *CRIU, o *criu.Options) error {
	var failed *criu.Error
	switch {
	case errors.As(err, &failed) && failed.Message != "":
		return err
	case failed == nil && !errors.Is(err, criu.ErrGone):
		return err
	}
	if reason := checkCRIU(k.Program); reason != "" {
		return fmt.Errorf("%w: criu can't work here: %s", err, reason)
	}
	if reason := firstError(logText(o)); reason != "" {
		return fmt.Errorf("%w: %s", err, reason)
	}
	return err
}

// logText is the end of criu's log.
func logText(o *criu.Options) string {
	f, err := openIn(o.Work, o.LogFile, unix.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	data := make([]byte, min(info.Size(), maxCRIULog))
	n, _ := f.ReadAt(data, info.Size()-int64(len(data))) // a part will do
	return string(data[:n])
}

// firstError is the first error in what criu says: those that follow
// come of it.
func firstError(log string) string {
	for line := range strings.Lines(log) {
		if _, text, found := strings.Cut(line, "Error ("); found {
			if _, text, found := strings.Cut(text, "): "); found {
				return strings.TrimSpace(text)
			}
		}
	}
	return ""
}
