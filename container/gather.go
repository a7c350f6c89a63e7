package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/moby/profiles/seccomp"
	"github.com/moby/sys/capability"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/internal/userns"
	"loper.run/runtime/cgroup"
)

// gather asks the host for what the container's config.json depends on.
func (c *Container) gather() (*facts, error) {
	e := c.engine
	f := &facts{rootless: e.Rootless, dir: c.RunDir(), volumes: e.path(volumeDir), joined: map[string]int{}}
	for _, name := range c.Settings.peers() {
		pid, err := e.peerPid(name)
		if err != nil {
			return nil, err
		}
		f.joined[name] = pid
	}
	var err error
	if f.uids, f.gids, err = c.mappings(); err != nil {
		return nil, err
	}
	layers := c.Layers
	if _, err := os.Lstat(c.file(upperDir)); err == nil {
		layers = append(layers[:len(layers):len(layers)], c.file(upperDir))
	}
	if f.accounts, err = layerAccounts(layers); err != nil {
		return nil, err
	}
	if f.hostname, err = os.Hostname(); err != nil {
		return nil, err
	}
	f.cgroups = detectCgroups(c.Settings.Memory > 0)
	if f.init, err = os.Executable(); err != nil {
		return nil, err
	}
	if err := c.findMixed(f); err != nil {
		return nil, err
	}
	if err := c.gatherRights(f); err != nil {
		return nil, err
	}
	if err := c.checkEgress(f); err != nil {
		return nil, err
	}
	if len(c.Settings.Networks) > 0 {
		_, err := os.Stat("/proc/sys/net/ipv6")
		f.ipv6 = err == nil
	}
	for _, dir := range []string{"/dev/mqueue", "/dev/shm"} {
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			f.ipcDirs = append(f.ipcDirs, dir)
		}
	}
	return f, c.gatherHost(f)
}

// mappings are those of the container's user namespace, nil when it has none.
func (c *Container) mappings() (uids, gids []specs.LinuxIDMapping, err error) {
	switch peer := c.peer(); {
	case peer != "":
		p, err := c.engine.Find(peer)
		if err != nil {
			return nil, nil, err
		}
		if p.peer() != "" {
			return nil, nil, fmt.Errorf("container %s joins namespaces itself: join those of %s", peer, p.peer())
		}
		return p.mappings()
	case c.engine.Rootless:
		return userns.Mappings()
	case c.Range != noRange:
		m := rangeMapping(c.Range)
		return m, m, nil
	}
	return nil, nil, nil
}

// gatherRights is about privileges: capabilities, devices, filters.
func (c *Container) gatherRights(f *facts) (err error) {
	o, err := parseSecurity(c.Settings.SecurityOpt)
	if err != nil {
		return err
	}
	if f.caps, err = allCaps(f.ownUserns()); err != nil {
		return err
	}
	if f.devices, err = findDevices(c.Settings.Devices); err != nil {
		return err
	}
	if c.Settings.Privileged && !f.ownUserns() {
		all, err := hostDevices()
		if err != nil {
			return err
		}
		f.devices = append(f.devices, all...)
	}
	if o.apparmor != "" && o.apparmor != "unconfined" {
		if _, err := os.Stat("/sys/kernel/security/apparmor"); err != nil {
			return fmt.Errorf("security option apparmor=%s: this host has no AppArmor", o.apparmor)
		}
	}
	if o.seccomp != "" && o.seccomp != "unconfined" {
		caps, err := c.capabilities(f)
		if err != nil {
			return err
		}
		profile, err := os.ReadFile(o.seccomp)
		if err != nil {
			return fmt.Errorf("seccomp profile: %w", err)
		}
		s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
		if f.seccomp, err = seccomp.LoadProfile(string(profile), s); err != nil {
			return fmt.Errorf("seccomp profile %s: %w", o.seccomp, err)
		}
	}
	return nil
}

// gatherHost is about an image that is the host itself.
func (c *Container) gatherHost(f *facts) error {
	if c.Builtin != "host" {
		return nil
	}
	for _, dir := range []string{c.engine.Root, c.engine.RunRoot} {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return err
		}
		if !below(real, "/tmp") && !below(real, "/run") {
			f.hide = append(f.hide, real)
		}
	}
	if !f.rootless {
		return nil
	}
	dirs, _, err := hostTop()
	f.hostDirs = dirs
	for _, name := range []string{resolvFile, hostnameFile, hostsFile} {
		if _, err := os.Lstat(filepath.Join("/etc", name)); errors.Is(err, os.ErrNotExist) {
			f.noEtc = append(f.noEtc, name)
		}
	}
	return err
}

// below reports whether path is dir or lies in it, by components.
func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// allCaps are the capabilities there are to give: every one the kernel knows
// in an own user namespace, the caller's own bounding set without.
func allCaps(ownUserns bool) ([]string, error) {
	known, err := capability.ListSupported()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range known {
		if !ownUserns {
			has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
			if err != nil {
				return nil, fmt.Errorf("read bounding set: %w", err)
			}
			if has != 1 {
				continue
			}
		}
		names = append(names, capName(c))
	}
	return names, nil
}

// detectCgroups asks what can be limited; swap only if that matters.
func detectCgroups(swap bool) cgroupFacts {
	mode := cgroup.Detect()
	c := cgroupFacts{usable: mode != cgroup.None}
	if swap && mode == cgroup.V1 {
		_, err := os.Lstat("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
		c.swap = err == nil
	}
	if swap && mode == cgroup.V2 {
		own, err := filepath.Glob("/sys/fs/cgroup/*/memory.swap.max")
		c.swap = err == nil && len(own) > 0
	}
	return c
}

// peerPid is the first process of a running container to join.
func (e *Engine) peerPid(name string) (int, error) {
	p, err := e.Find(name)
	if err != nil {
		return 0, fmt.Errorf("join container %s: %w", name, err)
	}
	st, err := p.Status()
	if err == nil && st.Pid == 0 {
		err = ErrNotRunning
	}
	if err != nil {
		return 0, fmt.Errorf("join container %s: %w", name, err)
	}
	return st.Pid, nil
}

// monitorProgram is the host path of the program that looks after containers:
// the small one that lies beside this one, or else this one.
func monitorProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	lope := filepath.Join(filepath.Dir(self), "lope")
	if _, err := os.Stat(lope); err == nil {
		return lope, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return self, nil
}
