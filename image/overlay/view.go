// Package overlay shows a stack of layers as overlayfs does, without mounting
// it. It looks names up one component at a time from descriptors and so never
// leaves the layers, whatever symbolic links they hold and whoever changes them
// meanwhile.
package overlay

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// View is a directory of the stack: the directories of that path in each layer
// that has one and shows through, the highest first.
type View struct {
	dirs []part
	root *View // of the whole stack; nil: this one
}

// part is a directory of one layer.
type part struct {
	f     *os.File
	layer int // 0 is the highest
}

// maxLinks is how many symbolic links one lookup follows, as in the kernel.
const maxLinks = 40

// Open opens the root of layers, given lowest first. Layers that do not exist
// are passed over.
func Open(layers []string) (*View, error) {
	v := &View{}
	for i := len(layers) - 1; i >= 0; i-- {
		d, err := os.OpenFile(layers[i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			v.Close()
			return nil, err
		}
		v.dirs = append(v.dirs, part{d, len(layers) - 1 - i})
	}
	return v, nil
}

// Close closes the descriptors.
func (v *View) Close() {
	for _, d := range v.dirs {
		d.f.Close()
	}
	v.dirs = nil
}

// Top is the highest layer's directory, which the attributes come from; nil
// when no layer has one.
func (v *View) Top() *os.File {
	if len(v.dirs) == 0 {
		return nil
	}
	return v.dirs[0].f
}

// TopLayer is the layer of Top, where 0 is the highest.
func (v *View) TopLayer() int {
	if len(v.dirs) == 0 {
		return -1
	}
	return v.dirs[0].layer
}

// Lower is the view without its highest layer. It shares v's descriptors, which
// v closes.
func (v *View) Lower() *View {
	lower := &View{root: v.root}
	for _, d := range v.dirs {
		if d.layer > 0 {
			lower.dirs = append(lower.dirs, d)
		}
	}
	return lower
}

// Entry is what a name stands for: a directory, which may have parts in several
// layers, or else one object of one layer.
type Entry struct {
	Dir   *View // nil: no directory
	Name  string
	Stat  unix.Stat_t
	Layer int // that the attributes come from; 0 is the highest

	// Of a directory: that the highest layer which has it took it from another
	// place below.
	Redirected bool

	at    *os.File // the layer's directory that holds the object
	view  *View    // in which it was found
	lower []part   // of view, under at
}

// Step looks one name up in v without following a link at its end. The object's
// directory stays open until v is closed; the entry is to be closed too.
func (v *View) Step(name string) (Entry, error) {
	e := Entry{Name: name}
	err := v.step(&e, name, v.dirs)
	if err == nil && e.Dir == nil && e.at == nil {
		err = &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	if err != nil {
		e.Close()
	}
	return e, err
}

// step adds to e what name stands for in dirs.
func (v *View) step(e *Entry, name string, dirs []part) error {
	for i, d := range dirs {
		var st unix.Stat_t
		err := unix.Fstatat(int(d.f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT || err == unix.ENOTDIR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if e.Dir == nil && !IsWhiteout(&st) {
				e.at, e.Stat, e.Layer, e.view, e.lower = d.f, st, d.layer, v, dirs[i+1:]
			}
			return nil
		}
		fd, err := unix.Openat(int(d.f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &fs.PathError{Op: "open", Path: name, Err: err}
		}
		first := e.Dir == nil
		if first {
			e.Dir, e.Stat, e.Layer = &View{root: v.top()}, st, d.layer
		}
		e.Dir.dirs = append(e.Dir.dirs, part{os.NewFile(uintptr(fd), name), d.layer})
		if IsOpaque(fd) {
			return nil
		}
		target, err := redirect(fd)
		if err != nil {
			return &fs.PathError{Op: "open", Path: name, Err: err}
		}
		if target == "" {
			continue
		}
		if first {
			e.Redirected = true
		}
		if !strings.HasPrefix(target, "/") {
			return v.step(e, target, dirs[i+1:])
		}
		return v.top().below(d.layer, target, func(at *View, base string) error { return at.step(e, base, at.dirs) })
	}
	return nil
}

func (v *View) top() *View {
	if v.root != nil {
		return v.root
	}
	return v
}

// below calls use with the directory that an absolute path is in, in the layers
// under one, and the path's last name. Nothing is followed.
func (v *View) below(layer int, path string, use func(at *View, base string) error) error {
	here := &View{root: v}
	for _, d := range v.dirs {
		if d.layer > layer {
			here.dirs = append(here.dirs, d)
		}
	}
	names := strings.Split(strings.Trim(path, "/"), "/")
	for _, name := range names[:len(names)-1] {
		e, err := here.Step(name)
		if err != nil {
			return err
		}
		defer e.Close()
		if e.Dir == nil {
			return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
		}
		here = e.Dir
	}
	return use(here, names[len(names)-1])
}

// Close closes a directory's descriptors.
func (e Entry) Close() {
	if e.Dir != nil {
		e.Dir.Close()
	}
}

// Walk calls use with what path stands for, links followed inside of the stack;
// all descriptors are closed after it.
func (v *View) Walk(path string, use func(Entry) error) error {
	rest := strings.Split(path, "/")
	chain := []*View{v} // the directories passed, for ..
	defer func() {
		for _, d := range chain[1:] {
			d.Close()
		}
	}()
	for links := 0; ; {
		for len(rest) > 0 && (rest[0] == "" || rest[0] == ".") {
			rest = rest[1:]
		}
		here := chain[len(chain)-1]
		if len(rest) == 0 {
			return use(Entry{Dir: here, Name: "."})
		}
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if len(chain) > 1 {
				here.Close()
				chain = chain[:len(chain)-1]
			}
			continue
		}
		e, err := here.Step(name)
		if err != nil {
			return err
		}
		switch {
		case e.Dir != nil:
			chain = append(chain, e.Dir)
		case e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK:
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			target, err := e.Readlink()
			if err != nil {
				return err
			}
			if strings.HasPrefix(target, "/") {
				for _, d := range chain[1:] {
					d.Close()
				}
				chain = chain[:1]
			}
			rest = append(strings.Split(target, "/"), rest...)
		case len(rest) > 0:
			return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
		default:
			return use(e)
		}
	}
}

// Readlink returns the target of a symbolic link.
func (e Entry) Readlink() (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(e.at.Fd()), e.Name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: e.Name, Err: err}
	}
	return string(buf[:n]), nil
}

// Open opens the object, which must be a regular file, for reading.
func (e Entry) Open() (*os.File, error) {
	if e.Dir != nil || e.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", e.Name)
	}
	f, err := e.OpenOwn()
	if err != nil || !hasMetacopy(int(f.Fd())) {
		return f, err
	}
	defer f.Close()
	return e.openData(f)
}

// openData opens the bytes of a file that was copied up without them.
func (e Entry) openData(f *os.File) (data *os.File, err error) {
	target, err := redirect(int(f.Fd()))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: e.Name, Err: err}
	}
	open := func(at *View, name string, dirs []part) error {
		below := Entry{Name: name}
		if err := at.step(&below, name, dirs); err != nil {
			return err
		}
		defer below.Close()
		if below.at == nil {
			return &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
		}
		data, err = below.Open()
		return err
	}
	if strings.HasPrefix(target, "/") {
		err = e.view.top().below(e.Layer, target, func(at *View, name string) error { return open(at, name, at.dirs) })
		return data, err
	}
	err = open(e.view, cmp.Or(target, e.Name), e.lower)
	return data, err
}

// OpenOwn is Open for the object itself, which may be without its bytes.
func (e Entry) OpenOwn() (*os.File, error) {
	fd, err := unix.Openat(int(e.at.Fd()), e.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: e.Name, Err: err}
	}
	return os.NewFile(uintptr(fd), e.Name), nil
}

// Names lists the names in the directory, in no order and with whiteouts; of
// the highest layer alone when top is set.
func (v *View) Names(top bool) ([]string, error) {
	var all []string
	seen := make(map[string]bool)
	for _, d := range v.dirs {
		// The descriptor of a directory found by Step can be read; those of the
		// layers' roots are only good for looking up.
		fd, err := unix.Openat(int(d.f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: d.f.Name(), Err: err}
		}
		f := os.NewFile(uintptr(fd), d.f.Name())
		names, err := f.Readdirnames(-1)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				all = append(all, name)
			}
		}
		if top {
			break
		}
	}
	return all, nil
}
