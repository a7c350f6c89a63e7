package runtime

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// optionKind says what an option of a mount changes.
type optionKind uint8

const (
	optionIgnored     optionKind = iota // nothing that a mount has
	optionAttr                          // attributes of the mount
	optionRecAttr                       // and of all mounts below it
	optionPropagation                   // set is MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE
	optionRecPropagation
	optionSuper // a flag of the file system, if it has such
	optionBind
	optionRecBind
	optionIDMap
	optionRecIDMap
	optionRemount
	optionCopyUp
)

// mountOption is an option that is not the file system's own.
type mountOption struct {
	name       string
	kind       optionKind
	set, clear uint64
}

// atime is the field of the three exclusive access-time settings.
const atime = unix.MOUNT_ATTR__ATIME

// optionTable has the options of runtime-spec, "Linux mount options", sorted by
// name. All others are the file system's own.
var optionTable = [...]mountOption{
	{"async", optionSuper, 0, 0},
	{"atime", optionAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"bind", optionBind, 0, 0},
	{"defaults", optionIgnored, 0, 0},
	{"dev", optionAttr, 0, unix.MOUNT_ATTR_NODEV},
	{"diratime", optionAttr, 0, unix.MOUNT_ATTR_NODIRATIME},
	{"dirsync", optionSuper, 0, 0},
	{"exec", optionAttr, 0, unix.MOUNT_ATTR_NOEXEC},
	{"idmap", optionIDMap, 0, 0},
	{"iversion", optionSuper, 0, 0},
	{"lazytime", optionSuper, 0, 0},
	{"loud", optionIgnored, 0, 0},
	{"mand", optionSuper, 0, 0},
	{"noatime", optionAttr, unix.MOUNT_ATTR_NOATIME, atime},
	{"nodev", optionAttr, unix.MOUNT_ATTR_NODEV, 0},
	{"nodiratime", optionAttr, unix.MOUNT_ATTR_NODIRATIME, 0},
	{"noexec", optionAttr, unix.MOUNT_ATTR_NOEXEC, 0},
	{"noiversion", optionSuper, 0, 0},
	{"nolazytime", optionSuper, 0, 0},
	{"nomand", optionSuper, 0, 0},
	{"norelatime", optionAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"nostrictatime", optionAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"nosuid", optionAttr, unix.MOUNT_ATTR_NOSUID, 0},
	{"nosymfollow", optionAttr, unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"private", optionPropagation, unix.MS_PRIVATE, 0},
	{"ratime", optionRecAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"rbind", optionRecBind, 0, 0},
	{"rdev", optionRecAttr, 0, unix.MOUNT_ATTR_NODEV},
	{"rdiratime", optionRecAttr, 0, unix.MOUNT_ATTR_NODIRATIME},
	{"relatime", optionAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"remount", optionRemount, 0, 0},
	{"rexec", optionRecAttr, 0, unix.MOUNT_ATTR_NOEXEC},
	{"ridmap", optionRecIDMap, 0, 0},
	{"rnoatime", optionRecAttr, unix.MOUNT_ATTR_NOATIME, atime},
	{"rnodev", optionRecAttr, unix.MOUNT_ATTR_NODEV, 0},
	{"rnodiratime", optionRecAttr, unix.MOUNT_ATTR_NODIRATIME, 0},
	{"rnoexec", optionRecAttr, unix.MOUNT_ATTR_NOEXEC, 0},
	{"rnorelatime", optionRecAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"rnostrictatime", optionRecAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"rnosuid", optionRecAttr, unix.MOUNT_ATTR_NOSUID, 0},
	{"rnosymfollow", optionRecAttr, unix.MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"ro", optionAttr, unix.MOUNT_ATTR_RDONLY, 0},
	{"rprivate", optionRecPropagation, unix.MS_PRIVATE, 0},
	{"rrelatime", optionRecAttr, unix.MOUNT_ATTR_RELATIME, atime},
	{"rro", optionRecAttr, unix.MOUNT_ATTR_RDONLY, 0},
	{"rrw", optionRecAttr, 0, unix.MOUNT_ATTR_RDONLY},
	{"rshared", optionRecPropagation, unix.MS_SHARED, 0},
	{"rslave", optionRecPropagation, unix.MS_SLAVE, 0},
	{"rstrictatime", optionRecAttr, unix.MOUNT_ATTR_STRICTATIME, atime},
	{"rsuid", optionRecAttr, 0, unix.MOUNT_ATTR_NOSUID},
	{"rsymfollow", optionRecAttr, 0, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"runbindable", optionRecPropagation, unix.MS_UNBINDABLE, 0},
	{"rw", optionAttr, 0, unix.MOUNT_ATTR_RDONLY},
	{"shared", optionPropagation, unix.MS_SHARED, 0},
	{"silent", optionIgnored, 0, 0},
	{"slave", optionPropagation, unix.MS_SLAVE, 0},
	{"strictatime", optionAttr, unix.MOUNT_ATTR_STRICTATIME, atime},
	{"suid", optionAttr, 0, unix.MOUNT_ATTR_NOSUID},
	{"symfollow", optionAttr, 0, unix.MOUNT_ATTR_NOSYMFOLLOW},
	{"sync", optionSuper, 0, 0},
	{"tmpcopyup", optionCopyUp, 0, 0},
	{"unbindable", optionPropagation, unix.MS_UNBINDABLE, 0},
}

// MountOptions lists the options that a mount in config.json may have besides
// those of its file system, sorted: what 'features' reports as mountOptions.
func MountOptions() []string {
	names := make([]string, len(optionTable))
	for i := range optionTable {
		names[i] = optionTable[i].name
	}
	return names
}

func findOption(name string) (mountOption, bool) {
	i, found := slices.BinarySearchFunc(optionTable[:], name, func(o mountOption, name string) int { return strings.Compare(o.name, name) })
	if !found {
		return mountOption{}, false
	}
	return optionTable[i], true
}

// spread is a change of a mount's propagation.
type spread struct {
	flag      uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE
	recursive bool
}

// mountOptions is what the options of a mount mean.
type mountOptions struct {
	set, clear       uint64 // MOUNT_ATTR_… of the mount itself
	recSet, recClear uint64 // and of all mounts below it
	propagation      []spread
	bind, recursive  bool
	idmap, recIDMap  bool
	remount, copyUp  bool
	super            []string // flags that not every file system has
	data             []string // what the file system itself understands: "key" or "key=value"
}

func parseMountOptions(m specs.Mount) mountOptions {
	o := mountOptions{bind: m.Type == "bind", idmap: len(m.UIDMappings)+len(m.GIDMappings) > 0}
	for _, name := range m.Options {
		found, ok := findOption(name)
		if !ok {
			o.data = append(o.data, splitData(name)...)
			continue
		}
		switch found.kind {
		case optionAttr:
			o.set, o.clear = o.set&^found.clear|found.set, o.clear&^found.set|found.clear
		case optionRecAttr:
			o.recSet, o.recClear = o.recSet&^found.clear|found.set, o.recClear&^found.set|found.clear
		case optionPropagation, optionRecPropagation:
			o.propagation = append(o.propagation, spread{found.set, found.kind == optionRecPropagation})
		case optionSuper:
			o.super = append(o.super, name)
		case optionBind:
			o.bind = true
		case optionRecBind:
			o.bind, o.recursive = true, true
		case optionIDMap:
			o.idmap = true
		case optionRecIDMap:
			o.idmap, o.recIDMap = true, true
		case optionRemount:
			o.remount = true
		case optionCopyUp:
			o.copyUp = true
		}
	}
	return o
}

// splitData parts options of a file system that were given as one, as mount(2)
// would: at commas, but for those in quotes or behind a backslash.
func splitData(text string) (list []string) {
	begin, quoted := 0, false
	for i := 0; i <= len(text); i++ {
		switch {
		case i == len(text), text[i] == ',' && !quoted:
			if i > begin {
				list = append(list, text[begin:i])
			}
			begin = i + 1
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
	}
	return list
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

// propagation is what linux.rootfsPropagation says; its flag is 0 when that is
// none.
func propagation(name string) spread {
	if o, ok := findOption(name); ok && (o.kind == optionPropagation || o.kind == optionRecPropagation) {
		return spread{o.set, o.kind == optionRecPropagation}
	}
	return spread{}
}

// isBind tells whether a mount shows what lies elsewhere on the host.
func isBind(m specs.Mount) bool {
	o := parseMountOptions(m)
	return o.bind && !o.remount
}

// wantsShared tells whether what the container mounts below is to appear on
// the host.
func wantsShared(m specs.Mount) bool {
	for _, p := range parseMountOptions(m).propagation {
		if p.flag == unix.MS_SHARED {
			return true
		}
	}
	return false
}

func wantsIDMap(m specs.Mount) bool { return parseMountOptions(m).idmap }
