package container

import "loper.run/network"

// Settings is what the caller asks of a container: docker's create flags, as
// plain data. It is stored in container.json as given; nothing is copied field
// by field into another form. The zero value of every field means "not asked":
// the image's choice, or else the engine's safe default.
type Settings struct {
	Name  string `json:"name,omitempty"`  // "": one is made up
	Image string `json:"image,omitempty"` // as the caller wrote it

	Entrypoint  []string `json:"entrypoint,omitempty"` // nil: the image's; [""]: none
	Command     []string `json:"command,omitempty"`    // nil: the image's, unless Entrypoint is given
	Env         []string `json:"env,omitempty"`        // NAME=value, literal; files and the caller's environment were read already
	WorkingDir  string   `json:"workingDir,omitempty"`
	User        string   `json:"user,omitempty"` // name|uid[:group|gid]
	GroupAdd    []string `json:"groupAdd,omitempty"`
	Hostname    string   `json:"hostname,omitempty"` // "": the first 12 digits of the id
	Domainname  string   `json:"domainname,omitempty"`
	Terminal    bool     `json:"terminal,omitempty"`
	OpenStdin   bool     `json:"openStdin,omitempty"`
	Init        bool     `json:"init,omitempty"` // a small init as process 1 that reaps and forwards signals
	AutoRemove  bool     `json:"autoRemove,omitempty"`
	ReadOnly    bool     `json:"readOnly,omitempty"`
	Privileged  bool     `json:"privileged,omitempty"` // see Engine.Create
	StopSignal  string   `json:"stopSignal,omitempty"`
	StopTimeout *int     `json:"stopTimeout,omitempty"` // seconds; nil: 10; negative: for ever
	DetachKeys  string   `json:"detachKeys,omitempty"`

	// Network is a mode, none, host, container:ID or ns:PATH, which leaves no place
	// for Networks. With neither, Create chooses; a stored container has none then.
	Network  string            `json:"network,omitempty"`
	Networks []network.Request `json:"networks,omitempty"`

	UsernsMode   string `json:"usernsMode,omitempty"`   // "": an own range of ids; host: the caller's
	PidMode      string `json:"pidMode,omitempty"`      // "" or private, host, container:ID
	IpcMode      string `json:"ipcMode,omitempty"`      // "", private or shareable, host, container:ID, none
	UtsMode      string `json:"utsMode,omitempty"`      // "" or private, host
	CgroupnsMode string `json:"cgroupnsMode,omitempty"` // "" or private, host
	CgroupParent string `json:"cgroupParent,omitempty"`

	Mounts  []Mount           `json:"mounts,omitempty"`
	Tmpfs   map[string]string `json:"tmpfs,omitempty"`   // target -> options, as --tmpfs
	ShmSize int64             `json:"shmSize,omitempty"` // bytes; 0: 64 MiB

	Resources

	CapAdd      []string          `json:"capAdd,omitempty"` // with or without CAP_, any case; ALL
	CapDrop     []string          `json:"capDrop,omitempty"`
	SecurityOpt []string          `json:"securityOpt,omitempty"` // as --security-opt
	Ulimits     []Ulimit          `json:"ulimits,omitempty"`
	Sysctls     map[string]string `json:"sysctls,omitempty"`
	Devices     []Device          `json:"devices,omitempty"`
	OomScoreAdj *int              `json:"oomScoreAdj,omitempty"`

	Labels    map[string]string `json:"labels,omitempty"`
	LogDriver string            `json:"logDriver,omitempty"` // "" or k8s-file, json-file (names for the same files); none
	LogOpts   map[string]string `json:"logOpts,omitempty"`   // max-size, max-file

	AddHosts  []string `json:"addHosts,omitempty"` // NAME:IP
	DNS       []string `json:"dns,omitempty"`
	DNSSearch []string `json:"dnsSearch,omitempty"`
	DNSOption []string `json:"dnsOption,omitempty"`
	Links     []string `json:"links,omitempty"` // CONTAINER[:ALIAS]

	Ports       []network.Port `json:"ports,omitempty"`
	Expose      []string       `json:"expose,omitempty"`      // PORT/PROTOCOL, besides the image's
	PublishAll  bool           `json:"publishAll,omitempty"`  // what is exposed gets a port of the host
	PublishOpen bool           `json:"publishOpen,omitempty"` // past the host's own firewall

	Egress    []string `json:"egress,omitempty"`    // as --egress; nil: all is allowed
	EgressLog bool     `json:"egressLog,omitempty"` // what is refused is put on record
	RateIn    uint64   `json:"rateIn,omitempty"`    // bits a second to the container; 0: no limit
	RateOut   uint64   `json:"rateOut,omitempty"`   // bits a second from it
}

// Resources are a container's limits. Zero means no limit, except PidsLimit.
type Resources struct {
	Memory            int64  `json:"memory,omitempty"`            // bytes
	MemorySwap        int64  `json:"memorySwap,omitempty"`        // bytes of memory and swap together; -1: unlimited swap; 0: twice Memory
	MemoryReservation int64  `json:"memoryReservation,omitempty"` // bytes
	MemorySwappiness  *int64 `json:"memorySwappiness,omitempty"`  // 0-100
	OomKillDisable    bool   `json:"oomKillDisable,omitempty"`
	NanoCPUs          int64  `json:"nanoCPUs,omitempty"` // 10^-9 CPUs
	CPUShares         uint64 `json:"cpuShares,omitempty"`
	CPUPeriod         int64  `json:"cpuPeriod,omitempty"` // microseconds
	CPUQuota          int64  `json:"cpuQuota,omitempty"`  // microseconds in each period
	CpusetCpus        string `json:"cpusetCpus,omitempty"`
	CpusetMems        string `json:"cpusetMems,omitempty"`
	BlkioWeight       uint16 `json:"blkioWeight,omitempty"` // 10-1000
	PidsLimit         int64  `json:"pidsLimit,omitempty"`   // 0: 4096; -1: no limit
}

// The kinds of a Mount.
const (
	MountBind   = "bind"
	MountVolume = "volume"
	MountTmpfs  = "tmpfs"
)

// Mount is one -v or --mount. ParseVolume and ParseMount make it.
type Mount struct {
	Type        string `json:"type"`
	Source      string `json:"source,omitempty"` // absolute host path, or the volume's name; "" with volume: an anonymous one
	Target      string `json:"target"`           // absolute, clean
	ReadOnly    bool   `json:"readOnly,omitempty"`
	Propagation string `json:"propagation,omitempty"` // private, rprivate, … ; "": rprivate
	NoRecursive bool   `json:"noRecursive,omitempty"` // bind only the source's own file system
	NoCopy      bool   `json:"noCopy,omitempty"`      // a new volume is not filled from the image
	CreateDir   bool   `json:"createDir,omitempty"`   // a missing bind source is made, as -v does
	NoIDMap     bool   `json:"noIDMap,omitempty"`     // owners are shown as they are on the host
	TmpfsSize   int64  `json:"tmpfsSize,omitempty"`   // bytes
	TmpfsMode   uint32 `json:"tmpfsMode,omitempty"`
	// Options are further mount options of a tmpfs or bind: nosuid, nodev, noexec.
	Options []string `json:"options,omitempty"`
	// Anonymous marks a volume whose name the engine made up; it goes with its container.
	Anonymous bool `json:"anonymous,omitempty"`
}

// Ulimit is one --ulimit. ParseUlimit makes it.
type Ulimit struct {
	Name string `json:"name"` // nofile, nproc, …
	Soft uint64 `json:"soft"`
	Hard uint64 `json:"hard"`
}

// Device is one --device. ParseDevice makes it.
type Device struct {
	Source      string `json:"source"`
	Target      string `json:"target"`
	Permissions string `json:"permissions"` // of r, w and m
}
