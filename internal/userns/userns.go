// Package userns lets an ordinary user work with more than one user id: it
// runs functions of this program as the root of a user namespace that has the
// ids of /etc/subuid and /etc/subgid.
package userns

import (
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"

	mobyuser "github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Rootless tells whether this process has no rights over the host, so that
// containers and their files live in a user namespace of the caller's.
func Rootless() bool { return !Privileged() }

// Privileged tells whether this process may mount file systems on the host: it
// is root with CAP_SYS_ADMIN, in the initial user namespace.
func Privileged() bool { return privileged() }

var privileged = sync.OnceValue(func() bool {
	if os.Geteuid() != 0 {
		return false
	}
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	return initialNamespace()
})

// initialNamespace looks at the map of ids: the initial user namespace's is the
// identity over all of them.
func initialNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true
	}
	fields := strings.Fields(string(b))
	return len(fields) == 3 && fields[0] == "0" && fields[1] == "0" && fields[2] == "4294967295"
}

// Mappings are the ids of the namespace: its root is the caller; from 1 on come
// the caller's subordinate ids. Without any, or without the set-uid helpers
// that may map them, the caller's own id is all there is.
func Mappings() (uids, gids []specs.LinuxIDMapping, err error) {
	uids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Geteuid()), Size: 1}}
	gids = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Getegid()), Size: 1}}
	if !helpers() {
		return uids, gids, nil
	}
	moreUIDs, err := subordinate("/etc/subuid")
	if err != nil {
		return nil, nil, err
	}
	moreGIDs, err := subordinate("/etc/subgid")
	if err != nil {
		return nil, nil, err
	}
	if len(moreUIDs) == 0 || len(moreGIDs) == 0 {
		return uids, gids, nil
	}
	return append(uids, moreUIDs...), append(gids, moreGIDs...), nil
}

// Single tells whether the mappings have only one id.
func Single(mappings []specs.LinuxIDMapping) bool {
	return len(mappings) == 1 && mappings[0].Size == 1
}

func helpers() bool {
	for _, name := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(name); err != nil {
			return false
		}
	}
	return true
}

// subordinate reads the caller's ranges, by number or by name.
func subordinate(path string) ([]specs.LinuxIDMapping, error) {
	uid := strconv.Itoa(os.Getuid())
	names := []string{uid}
	if u, err := user.LookupId(uid); err == nil {
		names = append(names, u.Username)
	}
	ranges, err := mobyuser.ParseSubIDFileFilter(path, func(s mobyuser.SubID) bool {
		for _, n := range names {
			if s.Name == n {
				return true
			}
		}
		return false
	})
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return mappings(ranges), nil
}

// mappings numbers the ranges from 1 on. A range that the kernel could not map
// is left out: one that is no 32-bit number, or that overlaps one before it, as
// when a user is listed by name and by number.
func mappings(ranges []mobyuser.SubID) (list []specs.LinuxIDMapping) {
	const all = 1<<32 - 1
	next := int64(1)
	for _, r := range ranges {
		overlaps := slices.ContainsFunc(list, func(m specs.LinuxIDMapping) bool {
			return r.SubID < int64(m.HostID)+int64(m.Size) && int64(m.HostID) < r.SubID+r.Count
		})
		if overlaps || r.SubID < 0 || r.Count <= 0 || r.Count > all-r.SubID || r.Count > all-next {
			continue
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: uint32(next), HostID: uint32(r.SubID), Size: uint32(r.Count)})
		next += r.Count
	}
	return list
}
