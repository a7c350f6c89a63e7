package container

import (
	"time"
)

// Inspect is a container in full, with docker's JSON names. What docker has
// and Loper has not is left out.
type Inspect struct {
	ID              string `json:"Id"`
	Created         time.Time
	Path            string
	Args            []string
	State           InspectState
	Image           string
	ResolvConfPath  string
	HostnamePath    string
	HostsPath       string
	LogPath         string
	Name            string // with a slash before it
	RestartCount    int
	Driver          string
	Platform        string
	MountLabel      string
	ProcessLabel    string
	AppArmorProfile string
	ExecIDs         []string
	HostConfig      InspectHost
	GraphDriver     InspectGraph
	SizeRw          *int64 `json:",omitempty"`
	SizeRootFs      *int64 `json:",omitempty"`
	Mounts          []InspectMount
	Config          InspectConfig
	NetworkSettings InspectNetwork
	// ConfigPath and IDMappings are not docker's: where config.json is, and the
	// container's own range of ids.
	ConfigPath string
	IDMappings []InspectMapping
}

// InspectState is what the container is doing.
type InspectState struct {
	Status     State
	Running    bool
	Paused     bool
	Restarting bool
	OOMKilled  bool
	Dead       bool
	Pid        int
	ExitCode   int
	Error      string
	StartedAt  time.Time
	FinishedAt time.Time
}

// InspectHost is docker's HostConfig.
type InspectHost struct {
	Binds             []string
	ContainerIDFile   string
	LogConfig         InspectLog
	NetworkMode       string
	RestartPolicy     InspectRestart
	AutoRemove        bool
	CapAdd            []string
	CapDrop           []string
	CgroupnsMode      string
	DNS               []string `json:"Dns"`
	DNSOptions        []string `json:"DnsOptions"`
	DNSSearch         []string `json:"DnsSearch"`
	ExtraHosts        []string
	GroupAdd          []string
	IpcMode           string
	Links             []string
	OomScoreAdj       int
	PidMode           string
	Privileged        bool
	PortBindings      PortMap
	PublishAllPorts   bool
	ReadonlyRootfs    bool
	SecurityOpt       []string
	UTSMode           string
	UsernsMode        string
	ShmSize           int64
	Sysctls           map[string]string `json:",omitempty"`
	Tmpfs             map[string]string `json:",omitempty"`
	Runtime           string
	CgroupParent      string
	CPUShares         uint64 `json:"CpuShares"`
	Memory            int64
	NanoCPUs          int64 `json:"NanoCpus"`
	BlkioWeight       uint16
	CPUPeriod         int64  `json:"CpuPeriod"`
	CPUQuota          int64  `json:"CpuQuota"`
	CpusetCpus        string `json:"CpusetCpus"`
	CpusetMems        string `json:"CpusetMems"`
	Devices           []InspectDevice
	MemoryReservation int64
	MemorySwap        int64
	MemorySwappiness  *int64
	OomKillDisable    bool
	PidsLimit         *int64
	Ulimits           []Ulimit
	Init              bool
	MaskedPaths       []string
	ReadonlyPaths     []string
}

// InspectLog is where output goes.
type InspectLog struct {
	Type   string
	Config map[string]string
}

// InspectRestart is docker's restart policy; Loper restarts nothing by itself.
type InspectRestart struct {
	Name              string
	MaximumRetryCount int
}

// InspectDevice is one --device.
type InspectDevice struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
}

// InspectGraph is the root file system's layers.
type InspectGraph struct {
	Name string
	Data map[string]string
}

// InspectMount is a mount of the caller's or a volume of the image's.
type InspectMount struct {
	Type        string
	Name        string `json:",omitempty"`
	Source      string
	Destination string
	Driver      string `json:",omitempty"`
	Mode        string
	RW          bool
	Propagation string
}

// InspectConfig is docker's Config: what runs, without the host.
type InspectConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	Labels       map[string]string
	StopSignal   string `json:",omitempty"`
	StopTimeout  *int   `json:",omitempty"`
}

// InspectMapping is a range of ids: those of the container and the host's.
type InspectMapping struct {
	ContainerID uint32
	HostID      uint32
	Size        uint32
}
