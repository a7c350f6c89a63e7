package runtime

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountOptions is what the options of a mount mean (runtime-spec, "Linux mount
// options").
type mountOptions struct {
	set, clear       uint64 // MOUNT_ATTR_… of the mount itself
	recSet, recClear uint64 // and of all mounts below it
	propagation      uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0
	recPropagation   bool
	bind, recursive  bool
	idmap, recIDMap  bool
	data             []string // what the file system itself understands: "key" or "key=value"
}

// attrOption is an option that sets or clears an attribute of a mount.
type attrOption struct {
	name       string
	set, clear uint64
}

// atime is the field of the three exclusive access-time settings.
const atime = unix.MOUNT_ATTR__ATIME

func attribute(name string) (attrOption, bool) {
	switch name {
	case "ro":
		return attrOption{name, unix.MOUNT_ATTR_RDONLY, 0}, true
	case "rw":
		return attrOption{name, 0, unix.MOUNT_ATTR_RDONLY}, true
	case "nosuid":
		return attrOption{name, unix.MOUNT_ATTR_NOSUID, 0}, true
	case "suid":
		return attrOption{name, 0, unix.MOUNT_ATTR_NOSUID}, true
	case "nodev":
		return attrOption{name, unix.MOUNT_ATTR_NODEV, 0}, true
	case "dev":
		return attrOption{name, 0, unix.MOUNT_ATTR_NODEV}, true
	case "noexec":
		return attrOption{name, unix.MOUNT_ATTR_NOEXEC, 0}, true
	case "exec":
		return attrOption{name, 0, unix.MOUNT_ATTR_NOEXEC}, true
	case "noatime":
		return attrOption{name, unix.MOUNT_ATTR_NOATIME, atime}, true
	case "relatime", "atime", "norelatime":
		return attrOption{name, unix.MOUNT_ATTR_RELATIME, atime}, true
	case "strictatime":
		return attrOption{name, unix.MOUNT_ATTR_STRICTATIME, atime}, true
	case "nostrictatime":
		return attrOption{name, unix.MOUNT_ATTR_RELATIME, atime}, true
	case "nodiratime":
		return attrOption{name, unix.MOUNT_ATTR_NODIRATIME, 0}, true
	case "diratime":
		return attrOption{name, 0, unix.MOUNT_ATTR_NODIRATIME}, true
	case "nosymfollow":
		return attrOption{name, unix.MOUNT_ATTR_NOSYMFOLLOW, 0}, true
	case "symfollow":
		return attrOption{name, 0, unix.MOUNT_ATTR_NOSYMFOLLOW}, true
	}
	return attrOption{}, false
}

func parseMountOptions(m specs.Mount) mountOptions {
	o := mountOptions{bind: m.Type == "bind"}
	for _, name := range m.Options {
		if a, ok := attribute(name); ok {
			o.set, o.clear = o.set&^a.clear|a.set, o.clear&^a.set|a.clear
			continue
		}
		if rest, found := strings.CutPrefix(name, "r"); found {
			if a, ok := attribute(rest); ok && rest != "elatime" {
				o.recSet, o.recClear = o.recSet&^a.clear|a.set, o.recClear&^a.set|a.clear
				continue
			}
		}
		if flag, recursive := propagation(name); flag != 0 {
			o.propagation, o.recPropagation = flag, recursive
			continue
		}
		switch name {
		case "bind":
			o.bind = true
		case "rbind":
			o.bind, o.recursive = true, true
		case "idmap":
			o.idmap = true
		case "ridmap":
			o.idmap, o.recIDMap = true, true
		case "defaults", "silent", "loud", "": // nothing that a mount has
		default:
			o.data = append(o.data, name)
		}
	}
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		o.idmap = true
	}
	return o
}

// validateMount finds what no mount may have.
func validateMount(index int, m specs.Mount) error {
	field := fmt.Sprintf("mounts[%d]", index)
	switch {
	case m.Destination == "":
		return badField(field+".destination", "is empty")
	case strings.ContainsRune(m.Destination, 0):
		return badField(field+".destination", "contains a NUL byte")
	case (len(m.UIDMappings) == 0) != (len(m.GIDMappings) == 0):
		return badField(field, "has mappings of user ids or of group ids alone; both are needed")
	}
	return nil
}

func propagation(name string) (flag uint64, recursive bool) {
	switch name {
	case "shared":
		return unix.MS_SHARED, false
	case "rshared":
		return unix.MS_SHARED, true
	case "slave":
		return unix.MS_SLAVE, false
	case "rslave":
		return unix.MS_SLAVE, true
	case "private":
		return unix.MS_PRIVATE, false
	case "rprivate":
		return unix.MS_PRIVATE, true
	case "unbindable":
		return unix.MS_UNBINDABLE, false
	case "runbindable":
		return unix.MS_UNBINDABLE, true
	}
	return 0, false
}

func isBind(m specs.Mount) bool { return parseMountOptions(m).bind }

// wantsShared tells whether what the container mounts below is to appear on
// the host.
func wantsShared(m specs.Mount) bool { return parseMountOptions(m).propagation == unix.MS_SHARED }

func wantsIDMap(m specs.Mount) bool { return parseMountOptions(m).idmap }
