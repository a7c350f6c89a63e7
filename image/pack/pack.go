// Package pack makes the tar of a layer, or of a whole root file system, out of
// directories on disk. The same files make the same bytes: whoever packs them,
// on whatever file system, and in whatever order they were made. Entries are
// sorted, owners are the numbers that the container knows, times are whole
// seconds, and nothing of this machine is in the headers.
package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
)

// Options says what is packed. The zero value packs all that the layers show.
type Options struct {
	// Changes packs what the highest layer does to those below: its own entries,
	// and whiteouts for what it hides (image-spec, layer.md).
	Changes bool `json:"changes,omitempty"`
	// UIDs and GIDs say which ids inside of the container the owners in the
	// highest layer are; without any they are the same. Owners in the other
	// layers are never changed.
	UIDs []specs.LinuxIDMapping `json:"uids,omitempty"`
	GIDs []specs.LinuxIDMapping `json:"gids,omitempty"`
	// Latest is put in place of every later time; nil: times stay.
	Latest *time.Time `json:"latest,omitempty"`
	// Skip are paths (etc/hosts) that the engine makes in the highest layer.
	// Changes leave them out as long as they are empty.
	Skip []string `json:"skip,omitempty"`
}

const (
	// maxDepth is the most directories above an entry, as for unpacking.
	maxDepth = 512
	// maxLinked is how many files with several names are remembered.
	maxLinked = 10_000_000
)

// Names with a meaning of their own in a layer (layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// Write packs layers, directories given lowest first, to w.
func Write(ctx context.Context, w io.Writer, layers []string, o Options) error {
	v, err := overlay.Open(layers)
	if err != nil {
		return err
	}
	defer v.Close()
	if v.Top() == nil {
		return fmt.Errorf("pack: %w", os.ErrNotExist)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	p := &packer{ctx: ctx, w: out, o: o, links: make(map[[2]uint64]string), skip: make(map[string]bool), buf: make([]byte, 256<<10)}
	for _, path := range o.Skip {
		p.skip[path] = true
	}
	if err := p.root(v); err != nil {
		return err
	}
	if err := p.write(make([]byte, 2*block)); err != nil {
		return err
	}
	return out.Flush()
}

// packer is one tar being written.
type packer struct {
	ctx     context.Context
	w       io.Writer
	o       Options
	links   map[[2]uint64]string // the first name of a file that has several
	skip    map[string]bool
	pending []*tar.Header // directories that are written when something in them is
	written int64
	buf     []byte
}

func (p *packer) write(b []byte) error {
	n, err := p.w.Write(b)
	p.written += int64(n)
	return err
}

// root packs the whole view. The root directory itself has an entry only when
// it is not what an unpacker makes anyway.
func (p *packer) root(v *overlay.View) error {
	top, err := openAgain(v.Top())
	if err != nil {
		return err
	}
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return err
	}
	h, err := p.directoryHeader("./", &st, v.TopLayer(), top)
	if err != nil {
		return err
	}
	changes := p.o.Changes && v.TopLayer() == 0
	plain := h.Mode == 0o755 && h.Uid == 0 && h.Gid == 0 && len(h.PAXRecords) == 0
	if changes {
		if plain, err = p.same(h, v.Lower()); err != nil {
			return err
		}
	} else if p.o.Changes {
		return nil // no layer of its own: nothing has changed
	}
	if !plain {
		if err := p.emit(h); err != nil {
			return err
		}
	}
	return p.children(v, "", changes, 0)
}

// openAgain opens a directory for reading that may only be good for looking up.
func openAgain(d *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(d.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), d.Name()), nil
}

// children packs what is in a directory at path, which is empty or ends with a
// slash; with changes only what its highest layer has.
func (p *packer) children(v *overlay.View, path string, changes bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%.200q: more than %d directories within one another", path, maxDepth)
	}
	names, err := v.Names(changes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		const tries = 20
		for try := 1; ; try++ {
			written := p.written
			err := p.child(v, path, name, changes, depth)
			if err == nil {
				break
			}
			// What was replaced between two looks is looked at again.
			if !replaced(err) || p.written != written || try == tries {
				return err
			}
		}
	}
	return nil
}

// replaced reports whether an error says that something is no more what it was.
func replaced(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (p *packer) child(v *overlay.View, path, name string, changes bool, depth int) error {
	if changes {
		if hidden, err := isHidden(v.Top(), name); err != nil || hidden {
			if err != nil {
				return named(path+name, err)
			}
			return p.marker(path + whiteoutPrefix + name)
		}
		if strings.HasPrefix(name, whiteoutPrefix) {
			return fmt.Errorf("%.200q: no layer can have a file with such a name", path+name)
		}
	}
	e, err := v.Step(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // hidden, or removed meanwhile
	}
	if err != nil {
		return named(path+name, err)
	}
	defer e.Close()
	if changes && p.skip[path+name] && e.Empty() {
		return nil
	}
	if e.Dir != nil {
		return p.directory(e, path+name+"/", changes, depth)
	}
	if err := p.object(e, path+name); err != nil {
		return named(path+name, err)
	}
	return nil
}

func named(path string, err error) error { return fmt.Errorf("pack %.200q: %w", path, err) }

// isHidden reports whether a layer's directory hides a name of those below.
func isHidden(dir *os.File, name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil && overlay.IsWhiteout(&st), err
}

// directory packs a directory and what is in it.
func (p *packer) directory(e overlay.Entry, path string, changes bool, depth int) error {
	top := e.Dir.Top()
	h, err := p.directoryHeader(path, &e.Stat, e.Layer, top)
	if err != nil {
		return named(path, err)
	}
	if !changes {
		if err := p.emit(h); err != nil {
			return err
		}
		return p.children(e.Dir, path, false, depth+1)
	}
	opaque := e.Redirected || overlay.IsOpaque(int(top.Fd()))
	same := false
	if !opaque {
		if same, err = p.same(h, e.Dir.Lower()); err != nil {
			return named(path, err)
		}
	}
	if same {
		p.pending = append(p.pending, h)
		kept := len(p.pending)
		err := p.children(e.Dir, path, true, depth+1)
		if len(p.pending) >= kept {
			p.pending = p.pending[:kept-1] // nothing in it was written
		}
		return err
	}
	if err := p.emit(h); err != nil {
		return err
	}
	if opaque {
		if err := p.marker(path + opaqueMarker); err != nil {
			return err
		}
	}
	// What was moved here from elsewhere below is packed as a whole.
	return p.children(e.Dir, path, !e.Redirected, depth+1)
}

// same reports whether a directory has the attributes that the layers below
// give it: it is there only for what is in it.
func (p *packer) same(h *tar.Header, lower *overlay.View) (bool, error) {
	if lower.Top() == nil {
		return false, nil
	}
	top, err := openAgain(lower.Top())
	if err != nil {
		return false, err
	}
	defer top.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &st); err != nil {
		return false, err
	}
	old, err := p.directoryHeader(h.Name, &st, lower.TopLayer(), top)
	if err != nil {
		return false, err
	}
	if h.Mode != old.Mode || h.Uid != old.Uid || h.Gid != old.Gid || len(h.PAXRecords) != len(old.PAXRecords) {
		return false, nil
	}
	for key, value := range h.PAXRecords {
		if old.PAXRecords[key] != value {
			return false, nil
		}
	}
	return true, nil
}
