package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// create opens the place of a new archive. A regular file or a directory is
// made beside its final name, which it gets when it is finished; devices and
// pipes are written as they are.
func create(name string, directory bool) (sink, error) {
	dir, base := filepath.Split(filepath.Clean(name))
	st, err := os.Stat(name)
	switch {
	case directory:
		if err == nil && !emptyDir(name, st) {
			return nil, fmt.Errorf("%s exists and is not an empty directory", name)
		}
		temp, err := os.MkdirTemp(dir, "."+base+".*")
		if err != nil {
			return nil, cannotWrite(name, err)
		}
		if err := os.Chmod(temp, 0o755); err != nil {
			os.Remove(temp)
			return nil, err
		}
		return &dirSink{path: temp, final: name}, nil
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s is a directory", name)
	case err == nil && !st.Mode().IsRegular():
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &fileSink{tarSink: tarSink{f: f}}, nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	f, err := os.CreateTemp(dir, "."+base+".*")
	if err != nil {
		return nil, cannotWrite(name, err)
	}
	return &fileSink{tarSink: tarSink{f: f}, final: name}, nil
}

// cannotWrite tells of the file that was asked for, and not of the one that
// was to be renamed to it.
func cannotWrite(name string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
}

func emptyDir(name string, st os.FileInfo) bool {
	if !st.IsDir() {
		return false
	}
	names, err := os.ReadDir(name)
	return err == nil && len(names) == 0
}

// fileSink is a tar that gets its name at the end.
type fileSink struct {
	tarSink
	final string // "": it has it already
	done  bool
}

func (s *fileSink) finish() error {
	if err := s.tarSink.finish(); err != nil {
		return err
	}
	if err := s.f.Close(); err != nil {
		return err
	}
	s.done = true
	if s.final == "" {
		return nil
	}
	return os.Rename(s.f.Name(), s.final)
}

func (s *fileSink) abort() {
	if s.done {
		return
	}
	s.f.Close()
	if s.final != "" {
		os.Remove(s.f.Name())
	}
}

// dirSink is a directory that gets its name at the end. All names in it are
// constants or made of digests.
type dirSink struct {
	path, final string
	done        bool
}

func (s *dirSink) file(name string, c Content) error {
	path := filepath.Join(s.path, name)
	if strings.Contains(name, "/") {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.CopyTo(f); err != nil {
		return err
	}
	return f.Close()
}

func (s *dirSink) finish() error {
	if err := os.Rename(s.path, s.final); err != nil {
		return err
	}
	s.done = true
	return nil
}

func (s *dirSink) abort() {
	if !s.done {
		os.RemoveAll(s.path)
	}
}
