package container

import (
	"cmp"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"loper.run/container/logs"
)

// Inspect describes the container in full; with size, what it wrote is
// counted too.
func (c *Container) Inspect(size bool) (*Inspect, error) {
	st, err := c.Status()
	if err != nil {
		return nil, err
	}
	i := &Inspect{
		ID: c.ID, Created: c.Created, Name: "/" + c.Name, Image: c.ImageID, Driver: "overlay2", Platform: runtime.GOOS,
		ResolvConfPath: c.runFile(resolvFile), HostnamePath: c.runFile(hostnameFile), HostsPath: c.runFile(hostsFile),
		LogPath: c.LogPath(), ConfigPath: c.file(configFile),
		State: InspectState{
			Status: st.State, Running: st.Alive(), Paused: st.State == Paused, Dead: st.State == Dead, OOMKilled: st.OOMKilled,
			Pid: st.Pid, ExitCode: st.ExitCode, Error: st.Error, StartedAt: st.StartedAt, FinishedAt: st.FinishedAt,
		},
		HostConfig: c.inspectHost(), Config: c.inspectConfig(), Mounts: c.inspectMounts(),
	}
	if i.NetworkSettings, err = c.inspectNetwork(st.Pid); err != nil {
		return nil, err
	}
	if args := c.Argv(); len(args) > 0 {
		i.Path, i.Args = args[0], slices.Concat([]string{}, args[1:])
	}
	o := c.overlay()
	lower := slices.Clone(o.Lower)
	slices.Reverse(lower)
	i.GraphDriver = InspectGraph{Name: "overlay2", Data: map[string]string{
		"LowerDir": strings.Join(lower, ":"), "UpperDir": o.Upper, "WorkDir": o.Work,
	}}
	uids, _, err := c.mappings()
	if err == nil {
		for _, m := range uids {
			i.IDMappings = append(i.IDMappings, InspectMapping(m))
		}
	}
	if size {
		written, whole, err := c.Size()
		if err != nil {
			return nil, err
		}
		i.SizeRw, i.SizeRootFs = &written, &whole
	}
	return i, nil
}

// Argv is the command line of the first process.
func (c *Container) Argv() []string {
	args, _ := c.args() // checked when the container was made
	return args
}

// Labels are the image's and the caller's.
func (c *Container) Labels() map[string]string {
	labels := make(map[string]string, len(c.Image.Labels)+len(c.Settings.Labels))
	maps.Copy(labels, c.Image.Labels)
	maps.Copy(labels, c.Settings.Labels)
	return labels
}

func (c *Container) inspectHost() InspectHost {
	s := &c.Settings
	h := InspectHost{
		Binds: []string{}, LogConfig: InspectLog{Type: cmp.Or(s.LogDriver, logs.K8sFile), Config: s.LogOpts},
		NetworkMode: s.NetworkNames()[0], PortBindings: s.bindings(), PublishAllPorts: s.PublishAll, Links: s.Links,
		RestartPolicy: InspectRestart{Name: "no"}, AutoRemove: s.AutoRemove,
		CapAdd: s.CapAdd, CapDrop: s.CapDrop, CgroupnsMode: cmp.Or(s.CgroupnsMode, "private"),
		DNS: s.DNS, DNSOptions: s.DNSOption, DNSSearch: s.DNSSearch, ExtraHosts: s.AddHosts, GroupAdd: s.GroupAdd,
		IpcMode: cmp.Or(s.IpcMode, "private"), PidMode: s.PidMode, Privileged: s.Privileged, ReadonlyRootfs: s.ReadOnly,
		SecurityOpt: s.SecurityOpt, UTSMode: s.UtsMode, UsernsMode: s.UsernsMode, ShmSize: cmp.Or(s.ShmSize, defaultShm),
		Sysctls: s.Sysctls, Tmpfs: s.Tmpfs, Runtime: "lope", CgroupParent: s.CgroupParent, CPUShares: s.CPUShares,
		Memory: s.Memory, NanoCPUs: s.NanoCPUs, BlkioWeight: s.BlkioWeight, CPUPeriod: s.CPUPeriod, CPUQuota: s.CPUQuota,
		CpusetCpus: s.CpusetCpus, CpusetMems: s.CpusetMems, Devices: []InspectDevice{}, MemoryReservation: s.MemoryReservation,
		MemorySwap: s.MemorySwap, MemorySwappiness: s.MemorySwappiness, OomKillDisable: s.OomKillDisable,
		Ulimits: s.Ulimits, Init: s.Init,
	}
	if s.OomScoreAdj != nil {
		h.OomScoreAdj = *s.OomScoreAdj
	}
	if s.PidsLimit != 0 {
		h.PidsLimit = &s.PidsLimit
	}
	for _, d := range s.Devices {
		h.Devices = append(h.Devices, InspectDevice{d.Source, d.Target, d.Permissions})
	}
	for _, m := range s.Mounts {
		if m.Type == MountTmpfs || m.Source == "" {
			continue
		}
		bind := m.Source + ":" + m.Target
		if m.ReadOnly {
			bind += ":ro"
		}
		h.Binds = append(h.Binds, bind)
	}
	if o, err := parseSecurity(s.SecurityOpt); err == nil && !s.Privileged && !o.unmasked {
		h.MaskedPaths, h.ReadonlyPaths = maskedPaths(), readonlyPaths()
	}
	return h
}

func (c *Container) inspectConfig() InspectConfig {
	s := &c.Settings
	config := InspectConfig{
		Hostname: c.hostname(&facts{}), Domainname: s.Domainname, User: cmp.Or(s.User, c.Image.User), Tty: s.Terminal,
		AttachStdin: s.OpenStdin, OpenStdin: s.OpenStdin, AttachStdout: true, AttachStderr: true,
		Cmd: s.Command, Image: c.ImageName, WorkingDir: cmp.Or(s.WorkingDir, c.Image.WorkingDir), Entrypoint: c.Image.Entrypoint,
		Labels: c.Labels(), StopSignal: cmp.Or(s.StopSignal, c.Image.StopSignal), StopTimeout: s.StopTimeout,
		Env: setEnv(slices.Clone(c.Image.Env), s.Env),
	}
	if s.Entrypoint != nil {
		config.Entrypoint = s.Entrypoint
	} else if len(config.Cmd) == 0 {
		config.Cmd = c.Image.Cmd
	}
	for _, port := range c.exposed() {
		if config.ExposedPorts == nil {
			config.ExposedPorts = make(map[string]struct{})
		}
		config.ExposedPorts[port] = struct{}{}
	}
	for _, target := range c.Image.Volumes {
		if config.Volumes == nil {
			config.Volumes = make(map[string]struct{})
		}
		config.Volumes[target] = struct{}{}
	}
	return config
}

func (c *Container) inspectMounts() []InspectMount {
	list := []InspectMount{}
	for _, m := range c.Mounts {
		i := InspectMount{Type: m.Type, Source: m.Source, Destination: m.Target, RW: !m.ReadOnly, Propagation: cmp.Or(m.Propagation, "rprivate")}
		switch m.Type {
		case MountVolume:
			i.Name, i.Driver, i.Propagation = m.Source, "local", ""
			i.Source = filepath.Join(c.engine.path(volumeDir), m.Source, volumeData)
		case MountTmpfs:
			i.Propagation = ""
		}
		list = append(list, i)
	}
	return list
}
