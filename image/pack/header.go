package pack

import (
	"archive/tar"
	"bytes"
	"os"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
)

// block is the unit of a tar, in bytes.
const block = 512

const (
	xattrRecord = "SCHILY.xattr."
	capability  = "security.capability"
	// maxXattr is the kernel's bound for a list of names and for a value.
	maxXattr = 64 << 10
)

// emit writes a header, after those of the directories above that wait for one.
func (p *packer) emit(h *tar.Header) error {
	waiting := p.pending
	p.pending = nil
	for _, d := range append(waiting, h) {
		b, err := encode(d)
		if err != nil {
			return named(d.Name, err)
		}
		if err := p.write(b); err != nil {
			return err
		}
	}
	return nil
}

// encode is a header as bytes: the plain form where that is enough, else with
// PAX records.
func encode(h *tar.Header) ([]byte, error) {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// marker writes an empty file that only has a meaning.
func (p *packer) marker(name string) error {
	return p.emit(&tar.Header{Typeflag: tar.TypeReg, Name: name, ModTime: time.Unix(0, 0)})
}

// header describes an object but for what depends on its type.
func (p *packer) header(kind byte, name string, st *unix.Stat_t, layer int) *tar.Header {
	h := &tar.Header{Typeflag: kind, Name: name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtim.Sec, 0)}
	if layer == 0 {
		h.Uid, h.Gid = int(overlay.Inside(st.Uid, p.o.UIDs)), int(overlay.Inside(st.Gid, p.o.GIDs))
	}
	if p.o.Latest != nil && h.ModTime.After(*p.o.Latest) {
		h.ModTime = p.o.Latest.Truncate(time.Second)
	}
	return h
}

func (p *packer) directoryHeader(name string, st *unix.Stat_t, layer int, dir *os.File) (*tar.Header, error) {
	h := p.header(tar.TypeDir, name, st, layer)
	return h, p.xattrs(h, dir, layer)
}

// xattrs adds the extended attributes that a layer may have: capabilities, and
// those of users but overlayfs's own.
func (p *packer) xattrs(h *tar.Header, f *os.File, layer int) error {
	names, err := listXattrs(int(f.Fd()))
	if err != nil || len(names) == 0 {
		return err
	}
	value := make([]byte, maxXattr)
	for _, name := range names {
		n, err := unix.Fgetxattr(int(f.Fd()), name, value)
		if err == unix.ENODATA {
			continue // removed meanwhile
		}
		if err != nil {
			return &os.PathError{Op: "read attribute " + name, Path: h.Name, Err: err}
		}
		data := value[:n]
		if name == capability && layer == 0 {
			data = ofRoot(data, p.o.UIDs)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrRecord+name] = string(data)
	}
	return nil
}

// listXattrs names the attributes to be packed, sorted.
func listXattrs(fd int) ([]string, error) {
	n, err := unix.Flistxattr(fd, nil)
	if err == unix.ENOTSUP || n <= 0 && err == nil {
		return nil, nil
	}
	list := make([]byte, maxXattr)
	if err == nil {
		n, err = unix.Flistxattr(fd, list)
	}
	if err != nil {
		return nil, os.NewSyscallError("flistxattr", err)
	}
	var names []string
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == capability || strings.HasPrefix(name, "user.") && !overlay.IsMark(name) && !strings.HasPrefix(name, "user.fuseoverlayfs.") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// ofRoot turns capabilities that count for the root of one user namespace, the
// container's, into those that an image has (capabilities(7), "File capability
// extended attribute versioning"): version 3 is version 2 with that user's id.
func ofRoot(data []byte, maps []specs.LinuxIDMapping) []byte {
	const v2, v3, size2, size3 = 2, 3, 20, 24
	if len(data) != size3 || data[3] != v3 {
		return data
	}
	root := uint32(data[20]) | uint32(data[21])<<8 | uint32(data[22])<<16 | uint32(data[23])<<24
	if overlay.Inside(root, maps) != 0 {
		return data
	}
	data = slices.Clone(data[:size2])
	data[3] = v2
	return data
}
