package container

import (
	"fmt"
	"path/filepath"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// namespaces says which namespaces are new, joined or the caller's.
func (r *Record) namespaces(s *specs.Spec, f *facts) error {
	add := func(kind specs.LinuxNamespaceType, path string) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
	}
	set := &r.Settings
	add(specs.MountNamespace, "")
	for _, n := range []struct {
		kind       specs.LinuxNamespaceType
		mode, file string
	}{
		{specs.PIDNamespace, set.PidMode, "pid"},
		{specs.IPCNamespace, set.IpcMode, "ipc"},
		{specs.NetworkNamespace, set.Network, "net"},
		{specs.UTSNamespace, set.UtsMode, "uts"},
		{specs.CgroupNamespace, set.CgroupnsMode, "cgroup"},
	} {
		private, path, err := r.namespace(n.file, n.mode, f)
		if err != nil {
			return err
		}
		if private || path != "" {
			add(n.kind, path)
		}
	}
	if f.ownUserns() {
		path := ""
		if peer := r.peer(); peer != "" {
			path = nsPath(f, peer, "user")
		}
		add(specs.UserNamespace, path)
		s.Linux.UIDMappings, s.Linux.GIDMappings = f.uids, f.gids
	}
	if set.UtsMode != "host" {
		s.Hostname, s.Domainname = r.hostname(f), set.Domainname
		for _, name := range []string{s.Hostname, s.Domainname} {
			if len(name) > 64 || strings.ContainsAny(name, " \t\n\x00") {
				return fmt.Errorf("invalid host name %q", name)
			}
		}
	}
	return r.sysctls(s, f)
}

// namespace reads one mode: a namespace of the container's own, one at a path,
// or, with neither, the caller's.
func (r *Record) namespace(kind, mode string, f *facts) (private bool, path string, err error) {
	word, arg, _ := strings.Cut(mode, ":")
	switch {
	case mode == "" || mode == "private" || kind == "net" && mode == "none" || kind == "ipc" && (mode == "none" || mode == "shareable"):
		return true, "", nil
	case mode == "host":
		return false, "", nil
	case word == "container" && arg != "" && (kind == "pid" || kind == "ipc" || kind == "net"):
		return false, nsPath(f, arg, kind), nil
	case word == "ns" && filepath.IsAbs(arg):
		return false, arg, nil
	}
	return false, "", fmt.Errorf("unknown %s mode %q", kind, mode)
}

func nsPath(f *facts, name, kind string) string {
	return fmt.Sprintf("/proc/%d/ns/%s", f.joined[name], kind)
}

// peers are the containers whose namespaces this one joins, as the caller named them.
func (s *Settings) peers() []string {
	var peers []string
	for _, mode := range []string{s.UsernsMode, s.Network, s.PidMode, s.IpcMode} {
		if name, ok := strings.CutPrefix(mode, "container:"); ok {
			peers = append(peers, name)
		}
	}
	return peers
}

// peer is the container whose user namespace this one shares: that of the
// first it joins, because only who owns a network, pid or ipc namespace can
// mount what shows it.
func (r *Record) peer() string {
	if peers := r.Settings.peers(); len(peers) > 0 && r.Settings.UsernsMode != "host" {
		return peers[0]
	}
	return ""
}

// lastPinger is the end of a range of groups that begins with 0 and has as many
// of a user namespace's as can be: the kernel compares what they are outside.
func lastPinger(gids []specs.LinuxIDMapping) uint32 {
	first, last := gids[0], gids[0]
	for _, m := range gids {
		if m.ContainerID == 0 {
			first = m
		}
		if m.HostID >= last.HostID {
			last = m
		}
	}
	if last.HostID < first.HostID {
		last = first
	}
	return last.ContainerID + last.Size - 1
}

// sysctls are the caller's, and two that let an unprivileged process of the
// container do in its own network what needs a capability on a host: send
// pings and listen below port 1024.
func (r *Record) sysctls(s *specs.Spec, f *facts) error {
	all := make(map[string]string, len(r.Settings.Sysctls)+6)
	own := r.Settings.ownNetwork()
	if own {
		last := uint32(2147483647)
		if f.ownUserns() {
			last = lastPinger(f.gids)
		}
		all["net.ipv4.ping_group_range"] = fmt.Sprintf("0 %d", last)
		all["net.ipv4.ip_unprivileged_port_start"] = "0"
	}
	if len(r.Settings.Networks) > 0 && f.ipv6 {
		// A neighbour must not become the way out (CVE-2020-13401).
		for _, whose := range []string{"all", "default"} {
			all["net.ipv6.conf."+whose+".accept_ra"] = "0"
			all["net.ipv6.conf."+whose+".accept_redirects"] = "0"
		}
	}
	for key, value := range r.Settings.Sysctls {
		ipc := strings.HasPrefix(key, "fs.mqueue.") || strings.HasPrefix(key, "kernel.msg") ||
			strings.HasPrefix(key, "kernel.sem") || strings.HasPrefix(key, "kernel.shm")
		net := strings.HasPrefix(key, "net.")
		switch {
		case strings.ContainsAny(key, "/\n\x00"), strings.ContainsAny(value, "\n\x00"):
			return fmt.Errorf("invalid sysctl %q", key)
		case net && own, ipc && r.Settings.IpcMode != "host":
		case net, ipc:
			return fmt.Errorf("sysctl %s would change a namespace that is not the container's own", key)
		default:
			return fmt.Errorf("sysctl %s is not a container's: only net.*, fs.mqueue.* and the ipc ones of kernel.* are", key)
		}
		all[key] = value
	}
	if len(all) > 0 {
		s.Linux.Sysctl = all
	}
	return nil
}
