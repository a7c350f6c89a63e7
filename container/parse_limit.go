package container

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/signal"
)

// ParseUlimit reads one --ulimit: NAME=SOFT[:HARD]; -1 is no limit.
func ParseUlimit(spec string) (Ulimit, error) {
	name, value, ok := strings.Cut(spec, "=")
	u := Ulimit{Name: strings.ToLower(name)}
	soft, hard, two := strings.Cut(value, ":")
	var err error
	if ok {
		u.Soft, err = rlimit(soft)
	}
	u.Hard = u.Soft
	if two && err == nil {
		u.Hard, err = rlimit(hard)
	}
	switch {
	case !ok || err != nil:
		return u, fmt.Errorf("invalid ulimit %q: want NAME=SOFT[:HARD], numbers or -1", spec)
	case !rlimitNames(u.Name):
		return u, fmt.Errorf("invalid ulimit %q: there is no limit %q", spec, name)
	case u.Soft > u.Hard:
		return u, fmt.Errorf("invalid ulimit %q: the soft limit is above the hard one", spec)
	}
	return u, nil
}

func rlimit(s string) (uint64, error) {
	if s == "-1" || s == "unlimited" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(s, 10, 64)
}

func rlimitNames(name string) bool {
	switch name {
	case "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
		"nproc", "rss", "rtprio", "rttime", "sigpending", "stack":
		return true
	}
	return false
}

// ParseDevice reads one --device: HOST[:CONTAINER][:PERMISSIONS], the
// permissions of r, w and m.
func ParseDevice(spec string) (Device, error) {
	fields := strings.Split(spec, ":")
	d := Device{Source: fields[0], Target: fields[0], Permissions: "rwm"}
	switch len(fields) {
	case 1:
	case 2:
		if isPermissions(fields[1]) {
			d.Permissions = fields[1]
		} else {
			d.Target = fields[1]
		}
	case 3:
		d.Target, d.Permissions = fields[1], fields[2]
	default:
		return d, fmt.Errorf("invalid device %q: more than HOST:CONTAINER:PERMISSIONS", spec)
	}
	if !path.IsAbs(d.Source) || !path.IsAbs(d.Target) {
		return d, fmt.Errorf("invalid device %q: both must be absolute paths", spec)
	}
	if !isPermissions(d.Permissions) {
		return d, fmt.Errorf("invalid device %q: permissions are r, w and m, each once", spec)
	}
	d.Source, d.Target = path.Clean(d.Source), path.Clean(d.Target)
	return d, nil
}

func isPermissions(s string) bool {
	for i, c := range s {
		if !strings.ContainsRune("rwm", c) || strings.ContainsRune(s[:i], c) {
			return false
		}
	}
	return s != ""
}

// ParseSignal reads a signal's name, with or without SIG and in any case, or
// its number from 1 to 64.
func ParseSignal(s string) (syscall.Signal, error) {
	sig, err := signal.ParseSignal(s)
	if err != nil || sig < 1 || sig > 64 {
		return 0, fmt.Errorf("invalid signal %q", s)
	}
	return sig, nil
}
