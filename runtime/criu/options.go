package criu

import "os"

// Kind is what criu is asked to do (criu_req_type in criu's rpc.proto).
type Kind int

const (
	Dump    Kind = 1
	Restore Kind = 2
	PreDump Kind = 4

	notify Kind = 6
)

// String names the request as criu's command line does.
func (k Kind) String() string {
	switch k {
	case Dump:
		return "dump"
	case Restore:
		return "restore"
	case PreDump:
		return "pre-dump"
	}
	return "request"
}

// CgroupMode says how much of the processes' cgroups is dumped and restored
// (criu_cg_mode).
type CgroupMode int

const (
	CgroupIgnore CgroupMode = 0
	CgroupSoft   CgroupMode = 3
	CgroupFull   CgroupMode = 4
	CgroupStrict CgroupMode = 5
)

// Inherit is a descriptor that criu has and gives to restored processes in the
// place of the file that the images call Key.
type Inherit struct {
	Key string
	FD  int
}

// CgroupRoot is the place of the restored processes' groups: Path below the
// root of the hierarchy of Controller, or of all when that is empty.
type CgroupRoot struct{ Controller, Path string }

// Options are criu's options, by the names of its manual (criu_opts). Zero
// values are criu's defaults.
type Options struct {
	// Images takes the images, Work the log and what else criu leaves.
	Images, Work *os.File
	// ParentImages is an earlier pre-dump's directory, relative to Images.
	ParentImages string
	// LogFile is a name in Work.
	LogFile string
	// ConfigFile holds options that override those here.
	ConfigFile string

	Pid                                       int
	Root                                      string // a mount point
	External                                  []string
	InheritFDs                                []Inherit
	LeaveRunning, TrackMem                    bool
	TCPEstablished, TCPSkipInFlight           bool
	ExtUnixSk, ShellJob, FileLocks, LinkRemap bool
	AutoDedup, LazyPages                      bool
	OrphanTerminal                            bool // OrphanPtsMaster
	Sibling                                   bool // a restored process becomes criu's sibling
	Cgroups                                   CgroupMode
	CgroupRoots                               []CgroupRoot
	FreezeCgroup                              string
	EmptyNamespaces                           uintptr // CLONE_NEW…
	PageServer                                string  // address
	PageServerPort                            int
	StatusFD                                  *os.File
	LSMProfile, LSMMountContext               string
}

// logLevel is criu's own default of its service: what it does, without each
// page.
const logLevel = 4

// encode makes a criu_opts. Files are named by their numbers: criu opens them
// in /proc of the process that made its socket.
func (o *Options) encode() message {
	var m message
	m.number(1, int64(o.Images.Fd()))
	if o.Pid != 0 {
		m.number(2, int64(o.Pid))
	}
	for _, f := range []struct {
		field int
		set   bool
	}{
		{3, o.LeaveRunning}, {4, o.ExtUnixSk}, {5, o.TCPEstablished}, {6, true /* evasive devices */}, {7, o.ShellJob}, {8, o.FileLocks},
		{12, true /* notify */}, {15, o.TrackMem}, {16, o.AutoDedup}, {18, o.LinkRemap}, {24, true /* manage cgroups */}, {26, o.Sibling},
		{46, o.TCPSkipInFlight}, {48, o.LazyPages}, {50, o.OrphanTerminal},
	} {
		m.flag(f.field, f.set)
	}
	m.number(9, logLevel)
	m.text(10, o.LogFile)
	if o.PageServer != "" || o.PageServerPort != 0 {
		var server message
		server.text(1, o.PageServer)
		server.number(2, int64(o.PageServerPort))
		m.message(11, server)
	}
	m.text(13, o.Root)
	m.text(14, o.ParentImages)
	m.number(17, int64(o.Work.Fd()))
	for _, r := range o.CgroupRoots {
		var root message
		root.text(1, r.Controller)
		root.text(2, r.Path)
		m.message(25, root)
	}
	for _, i := range o.InheritFDs {
		var inherit message
		inherit.text(1, i.Key)
		inherit.number(2, int64(i.FD))
		m.message(27, inherit)
	}
	m.number(34, int64(o.Cgroups))
	for _, e := range o.External {
		m.text(37, e)
	}
	if o.EmptyNamespaces != 0 {
		m.number(38, int64(o.EmptyNamespaces))
	}
	m.text(44, o.FreezeCgroup)
	if o.StatusFD != nil {
		m.number(49, int64(o.StatusFD.Fd()))
	}
	m.text(51, o.ConfigFile)
	m.text(53, o.LSMProfile)
	m.text(63, o.LSMMountContext)
	return m
}
