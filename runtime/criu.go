package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"loper.run/runtime/criu"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// CRIU is how criu is to checkpoint or restore a container. The names are those
// of runc's flags and of criu's manual.
type CRIU struct {
	// Program is criu's path.
	Program string
	// Images is the directory of the images. Work, if not nil, takes the log;
	// otherwise Images does.
	Images, Work *os.File
	// Parent is the directory of an earlier pre-dump, relative to Images.
	Parent string
	// PreDump copies memory only and lets the container go on; the next dump
	// names its directory as Parent.
	PreDump bool

	LeaveRunning, TCPEstablished, TCPSkipInFlight bool
	LinkRemap, ExtUnixSk, ShellJob, FileLocks     bool
	AutoDedup, LazyPages                          bool
	StatusFD                                      *os.File
	PageServer                                    string // HOST:PORT
	ManageCgroups                                 string // soft, full, strict, ignore; empty: soft
	EmptyNamespaces                               []string
	LSMProfile, LSMMountContext                   string
}

var errNoCRIU = errors.New("criu, which checkpoints and restores, is not installed; --criu names its program")

// cgroupMode knows the values of runc's --manage-cgroups-mode.
func cgroupMode(name string) (criu.CgroupMode, error) {
	switch name {
	case "", "soft":
		return criu.CgroupSoft, nil
	case "full":
		return criu.CgroupFull, nil
	case "strict":
		return criu.CgroupStrict, nil
	case "ignore":
		return criu.CgroupIgnore, nil
	}
	return 0, fmt.Errorf("--manage-cgroups-mode %q: soft, full, strict and ignore are known", name)
}

// options are those of all requests.
func (k *CRIU) options(spec *specs.Spec, log string) (*criu.Options, error) {
	mode, err := cgroupMode(k.ManageCgroups)
	if err != nil {
		return nil, err
	}
	o := &criu.Options{
		Images: k.Images, Work: k.Work, ParentImages: k.Parent, LogFile: log, ConfigFile: criuConfig(spec),
		LeaveRunning: k.LeaveRunning, TCPEstablished: k.TCPEstablished, TCPSkipInFlight: k.TCPSkipInFlight,
		LinkRemap: k.LinkRemap, ExtUnixSk: k.ExtUnixSk, ShellJob: k.ShellJob, FileLocks: k.FileLocks,
		AutoDedup: k.AutoDedup, LazyPages: k.LazyPages, OrphanTerminal: true, Cgroups: mode,
		StatusFD: k.StatusFD, LSMProfile: k.LSMProfile, LSMMountContext: k.LSMMountContext,
	}
	if o.Work == nil {
		o.Work = o.Images
	}
	for _, name := range k.EmptyNamespaces {
		flag := namespaceFlag(specs.LinuxNamespaceType(name))
		if flag != unix.CLONE_NEWNET {
			return nil, fmt.Errorf("--empty-ns %q: only network is known", name)
		}
		o.EmptyNamespaces |= flag
	}
	if k.PageServer != "" {
		host, port, found := strings.Cut(k.PageServer, ":")
		number, err := strconv.ParseUint(port, 10, 16)
		if !found || err != nil {
			return nil, fmt.Errorf("--page-server %q: ADDRESS:PORT is expected", k.PageServer)
		}
		o.PageServer, o.PageServerPort = host, int(number)
	}
	return o, nil
}

// stdin is criu's standard input: the terminal of a shell job is known by it.
func (k *CRIU) stdin() *os.File {
	if k.ShellJob {
		return os.Stdin
	}
	return nil
}

// criuConfig is the file of criu's own options: the one that an annotation
// names, as for other runtimes, else theirs where it is there.
func criuConfig(spec *specs.Spec) string {
	const usual = "/etc/criu/runc.conf"
	if path, ok := spec.Annotations[criuAnnotation]; ok {
		return path
	}
	if unix.Access(usual, unix.R_OK) == nil {
		return usual
	}
	return ""
}
