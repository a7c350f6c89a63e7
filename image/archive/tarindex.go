package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// tarFiles is the table of contents of a tar.
type tarFiles struct {
	f       *os.File
	entries map[string]entry
}

// entry is a regular file, or else a link to another entry.
type entry struct {
	offset, size int64
	target       string // clean name; "": a file
}

// readIndex reads all headers of a tar, and skips its contents.
func readIndex(f *os.File) (*tarFiles, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	in := io.NewSectionReader(f, 0, st.Size())
	t := &tarFiles{f: f, entries: make(map[string]entry)}
	r := tar.NewReader(in)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, tar.ErrInsecurePath) {
			err = nil // names are judged in add, whatever GODEBUG says
		}
		if err != nil {
			if n == 0 {
				return nil, fmt.Errorf("%w: %w", ErrFormat, err)
			}
			return nil, fmt.Errorf("the archive is damaged or cut off after %d entries: %w", n, err)
		}
		if n >= maxEntries {
			return nil, fmt.Errorf("the archive has more than %d entries", maxEntries)
		}
		// The tar reader reads whole headers and nothing ahead.
		at, err := in.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if err := t.add(h, at, st.Size()); err != nil {
			return nil, fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
	}
	if len(t.entries) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	return t, nil
}

// add puts an entry into the table. Two entries of one name would let two
// readers see two archives.
func (t *tarFiles) add(h *tar.Header, offset, end int64) error {
	if len(h.Name) > maxName || len(h.Linkname) > maxName {
		return fmt.Errorf("its name has more than %d bytes", maxName)
	}
	if h.Typeflag == tar.TypeDir {
		return nil // "./" too, with which an archive of a directory begins
	}
	name, ok := clean(h.Name)
	if !ok {
		return errors.New("its name leads out of the archive")
	}
	var e entry
	switch h.Typeflag {
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return errors.New("it is a sparse file, which no archive of images has")
			}
		}
		if h.Size < 0 || h.Size > end-offset {
			return fmt.Errorf("the archive is cut off: %w", io.ErrUnexpectedEOF)
		}
		e = entry{offset: offset, size: h.Size}
	case tar.TypeSymlink: // docker before 25: layer.tar of a shared layer
		if e.target, ok = clean(path.Join(path.Dir(name), h.Linkname)); !ok || path.IsAbs(h.Linkname) {
			return errors.New("it is a link that leads out of the archive")
		}
	case tar.TypeLink:
		if e.target, ok = clean(h.Linkname); !ok {
			return errors.New("it is a link that leads out of the archive")
		}
	default:
		return nil // it has no meaning here
	}
	if _, twice := t.entries[name]; twice {
		return errors.New("it is there twice")
	}
	t.entries[name] = e
	return nil
}

// clean is the one way to write a name; not ok: it leads up and out.
func clean(name string) (string, bool) {
	name = path.Clean(strings.TrimLeft(name, "/"))
	return name, name != ".." && !strings.HasPrefix(name, "../") && name != "."
}

func (t *tarFiles) open(name string) (Content, error) {
	name, _ = clean(name)
	for range maxLinks {
		e, ok := t.entries[name]
		if !ok {
			return Content{}, os.ErrNotExist
		}
		if e.target == "" {
			return Content{File: t.f, Offset: e.offset, Size: e.size}, nil
		}
		name = e.target
	}
	return Content{}, errors.New("links of the archive lead in a circle")
}

// Close closes the archive's file.
func (t *tarFiles) Close() error { return t.f.Close() }
