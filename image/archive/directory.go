package archive

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// directory is an unpacked archive.
type directory struct{ root *os.Root }

func openDirectory(path string) (*directory, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &directory{root}, nil
}

// open opens a regular file. Links inside of the directory are followed, as
// blobs may be shared so; what is outside is out of reach.
func (d *directory) open(name string) (Content, error) {
	name, ok := clean(name)
	if !ok {
		return Content{}, os.ErrNotExist
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Content{}, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return Content{}, err
	}
	return Content{File: f, Size: st.Size(), own: true}, nil
}

// Close closes the directory.
func (d *directory) Close() error { return d.root.Close() }
