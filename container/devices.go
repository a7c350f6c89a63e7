package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// deviceNodes are the devices beyond those that every container has. No node
// can be made in a user namespace: there the host's is bound, at the same path
// by the runtime, at another one as a mount.
func (r *Record) deviceNodes(s *specs.Spec, f *facts) {
	for _, d := range f.devices {
		if f.ownUserns() && filepath.Clean(d.Source) != filepath.Clean(d.Target) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: d.Target, Type: "bind", Source: d.Source, Options: []string{"bind", "rprivate", "nosuid", "noexec"}})
			continue
		}
		mode := os.FileMode(d.mode)
		s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{
			Path: d.Target, Type: d.kind, Major: d.major, Minor: d.minor, FileMode: &mode, UID: pointer(d.uid), GID: pointer(d.gid),
		})
	}
}

// deviceRules are the device cgroup's: nothing, then what every container may
// use (making any node, which is useless without opening it; null, zero, full,
// random, urandom, tty, console, ptmx and terminals), then the caller's.
func (r *Record) deviceRules(f *facts) []specs.LinuxDeviceCgroup {
	if r.Settings.Privileged && !f.ownUserns() {
		return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	allow := func(kind string, major, minor int64, access string) {
		rule := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access, Major: &major}
		if minor >= 0 {
			rule.Minor = &minor
		}
		rules = append(rules, rule)
	}
	rules = append(rules,
		specs.LinuxDeviceCgroup{Allow: true, Type: "c", Access: "m"},
		specs.LinuxDeviceCgroup{Allow: true, Type: "b", Access: "m"})
	for _, minor := range []int64{3, 5, 7, 8, 9} {
		allow("c", 1, minor, "rwm")
	}
	for _, minor := range []int64{0, 1, 2} {
		allow("c", 5, minor, "rwm")
	}
	allow("c", 136, -1, "rwm")
	for _, d := range f.devices {
		allow(d.kind, d.major, d.minor, d.Permissions)
	}
	return rules
}

// findDevices looks the caller's devices up on the host. A directory stands
// for all devices below it.
func findDevices(asked []Device) ([]hostDevice, error) {
	var list []hostDevice
	for _, d := range asked {
		fi, err := os.Stat(d.Source)
		if err != nil {
			return nil, fmt.Errorf("device: %w", err)
		}
		if !fi.IsDir() {
			node, ok := deviceNode(d, fi)
			if !ok {
				return nil, fmt.Errorf("device %s: not a device", d.Source)
			}
			list = append(list, node)
			continue
		}
		err = filepath.WalkDir(d.Source, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Type()&fs.ModeDevice == 0 {
				return err
			}
			fi, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			one := d
			one.Source, one.Target = path, filepath.Join(d.Target, path[len(d.Source):])
			if node, ok := deviceNode(one, fi); ok {
				list = append(list, node)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("device %s: %w", d.Source, err)
		}
	}
	return list, nil
}

// hostDevices are all devices of the host but terminals, which the container
// has its own of.
func hostDevices() ([]hostDevice, error) {
	all, err := findDevices([]Device{{Source: "/dev", Target: "/dev", Permissions: "rwm"}})
	var list []hostDevice
	for _, d := range all {
		switch filepath.Dir(d.Target) {
		case "/dev/pts", "/dev/shm", "/dev/mqueue":
			continue
		}
		if d.Target != "/dev/console" {
			list = append(list, d)
		}
	}
	return list, err
}

func deviceNode(d Device, fi os.FileInfo) (hostDevice, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode()&fs.ModeDevice == 0 {
		return hostDevice{}, false
	}
	kind := "b"
	if fi.Mode()&fs.ModeCharDevice != 0 {
		kind = "c"
	}
	return hostDevice{
		Device: d, kind: kind, mode: uint32(fi.Mode().Perm()), uid: st.Uid, gid: st.Gid,
		major: int64(unix.Major(st.Rdev)), minor: int64(unix.Minor(st.Rdev)),
	}, true
}
