package overlay

import (
	"errors"
	"io/fs"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Kind is what happened to a path.
type Kind string

// The kinds of a Change, by docker's letters.
const (
	Added   Kind = "A"
	Changed Kind = "C"
	Deleted Kind = "D"
)

// Change is a path that two stacks show differently.
type Change struct {
	Kind Kind   `json:"kind"`
	Path string `json:"path"` // absolute
}

// Comparison is two stacks of layers, each given lowest first.
type Comparison struct {
	Old []string `json:"old"`
	New []string `json:"new"`
	// UIDs and GIDs say which ids inside of the container the owners in the
	// highest of the New layers are; without any they are the same.
	UIDs []specs.LinuxIDMapping `json:"uids,omitempty"`
	GIDs []specs.LinuxIDMapping `json:"gids,omitempty"`
	// Skip are paths (etc/hosts) that don't count as added while they are empty.
	Skip []string `json:"skip,omitempty"`
}

// maxDiffDepth is the most directories above an entry, as for packing.
const maxDiffDepth = 512

// Diff lists what is different, sorted by path. A directory counts as changed
// when something in it is. What both share on disk is not looked into.
func Diff(c Comparison) ([]Change, error) {
	old, err := Open(c.Old)
	if err != nil {
		return nil, err
	}
	defer old.Close()
	now, err := Open(c.New)
	if err != nil {
		return nil, err
	}
	defer now.Close()
	d := &differ{c: c, skip: make(map[string]bool)}
	for _, path := range c.Skip {
		d.skip["/"+path] = true
	}
	err = d.directory(old, now, "", 0)
	return d.list, err
}

type differ struct {
	c    Comparison
	skip map[string]bool
	list []Change
}

func (d *differ) add(kind Kind, path string) { d.list = append(d.list, Change{kind, path}) }

// directory compares what is in two directories of one path.
func (d *differ) directory(old, now *View, path string, depth int) error {
	if depth > maxDiffDepth {
		return errors.New("more than 512 directories within one another")
	}
	var names []string
	for _, v := range []*View{old, now} {
		more, err := v.Names(false)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := d.name(old, now, path+"/", name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) name(old, now *View, path, name string, depth int) error {
	a, hadIt, err := look(old, name)
	if err != nil {
		return err
	}
	defer a.Close()
	b, hasIt, err := look(now, name)
	if err != nil {
		return err
	}
	defer b.Close()
	path += name
	switch {
	case !hadIt && !hasIt:
	case !hadIt && d.skip[path] && b.Empty():
	case !hadIt:
		d.add(Added, path)
		return d.added(b, path, depth)
	case !hasIt:
		d.add(Deleted, path)
	case a.Dir != nil && b.Dir != nil:
		return d.both(a, b, path, depth)
	case a.Dir == nil && b.Dir == nil:
		if d.differ(a, b) {
			d.add(Changed, path)
		}
	default:
		d.add(Changed, path)
		return d.added(b, path, depth)
	}
	return nil
}

// look is Step for names that may lack.
func look(v *View, name string) (Entry, bool, error) {
	e, err := v.Step(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, false, nil
	}
	return e, err == nil, err
}

// added lists all that is in a new directory.
func (d *differ) added(e Entry, path string, depth int) error {
	if e.Dir == nil {
		return nil
	}
	return d.directory(&View{}, e.Dir, path, depth+1)
}

func (d *differ) both(a, b Entry, path string, depth int) error {
	if sameParts(a.Dir, b.Dir) {
		return nil
	}
	at := len(d.list)
	if err := d.directory(a.Dir, b.Dir, path, depth+1); err != nil {
		return err
	}
	if len(d.list) > at || d.attributes(a, b) {
		d.list = slices.Insert(d.list, at, Change{Changed, path})
	}
	return nil
}

// sameParts reports whether two directories are the same on disk.
func sameParts(a, b *View) bool {
	if len(a.dirs) != len(b.dirs) {
		return false
	}
	for i := range a.dirs {
		var s, t unix.Stat_t
		if unix.Fstat(int(a.dirs[i].f.Fd()), &s) != nil || unix.Fstat(int(b.dirs[i].f.Fd()), &t) != nil || s.Dev != t.Dev || s.Ino != t.Ino {
			return false
		}
	}
	return true
}

// differ reports whether two objects that are no directories are different.
// Files count as the same by size and time.
func (d *differ) differ(a, b Entry) bool {
	s, t := &a.Stat, &b.Stat
	if s.Dev == t.Dev && s.Ino == t.Ino {
		return false
	}
	if d.attributes(a, b) || s.Size != t.Size || s.Mtim != t.Mtim || s.Rdev != t.Rdev {
		return true
	}
	if s.Mode&unix.S_IFMT != unix.S_IFLNK {
		return false
	}
	from, err1 := a.Readlink()
	to, err2 := b.Readlink()
	return from != to || err1 != nil || err2 != nil
}

// attributes reports whether modes or owners are different.
func (d *differ) attributes(a, b Entry) bool {
	s, t := &a.Stat, &b.Stat
	uid, gid := t.Uid, t.Gid
	if b.Layer == 0 {
		uid, gid = Inside(uid, d.c.UIDs), Inside(gid, d.c.GIDs)
	}
	return s.Mode != t.Mode || s.Uid != uid || s.Gid != gid
}

// nobody is the owner of what belongs to nobody inside, as the kernel shows it.
const nobody = 65534

// Inside is a container's number for an id of the host; without mappings they
// are the same.
func Inside(id uint32, maps []specs.LinuxIDMapping) uint32 {
	for _, m := range maps {
		if id >= m.HostID && id-m.HostID < m.Size {
			return m.ContainerID + id - m.HostID
		}
	}
	if len(maps) > 0 {
		return nobody
	}
	return id
}

// Empty reports whether an entry is of the highest layer and holds nothing.
func (e Entry) Empty() bool {
	if e.Layer != 0 {
		return false
	}
	if e.Dir == nil {
		return e.Stat.Mode&unix.S_IFMT == unix.S_IFREG && e.Stat.Size == 0
	}
	names, err := e.Dir.Names(true)
	return err == nil && len(names) == 0
}
