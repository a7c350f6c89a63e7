package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// DamagedError tells that a state directory has no record to go by. Such a
// container can only be deleted by force.
type DamagedError struct {
	Path string
	Err  error
}

// Error names the directory or the file and what is wrong with it.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the container's state %s is damaged: %v; only 'delete --force' is left to do", e.Path, e.Err)
}

// Unwrap returns what is wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

// checkDir refuses a state directory that is another's, or none.
func (c *Container) checkDir() error {
	var st unix.Stat_t
	if err := unix.Lstat(c.dir, &st); err != nil {
		return &os.PathError{Op: "look at", Path: c.dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return &DamagedError{c.dir, errors.New("it is no directory")}
	}
	if err := checkOwner(&st); err != nil {
		return &DamagedError{c.dir, fmt.Errorf("it %w", err)}
	}
	return nil
}

// readState reads the record. There is none before the container's maker wrote
// it. A damaged one must not keep 'delete --force' from cleaning up: then the
// error is a *DamagedError, and what can be told from elsewhere is the state.
func (c *Container) readState() error {
	id := c.state.ID
	c.state = state{ID: id}
	if err := c.checkDir(); err != nil {
		return err
	}
	path := filepath.Join(c.dir, stateFile)
	data, err := readRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil && s.ID != id {
		err = fmt.Errorf("it is of a container %q", s.ID)
	}
	if err != nil {
		c.salvage()
		return &DamagedError{path, err}
	}
	c.state = s
	return nil
}

// salvage finds the cgroups of a container without a record, if its config.json
// tells of them: the processes in there are all that can be known of it.
func (c *Container) salvage() {
	spec, err := c.ownSpec()
	if err != nil || strings.Contains(spec.Linux.CgroupsPath, ":") { // systemd's, under a name that is not all in there
		return
	}
	if m, err := newCgroup(spec, &Options{ID: c.state.ID}); err == nil {
		c.state.Cgroups = m.Paths()
		c.state.Poststop = len(hooksOf(spec).Poststop) > 0
	}
}

var errNotRegular = errors.New("it is no regular file")

// readRegular reads a file that is no link, and none that can be waited at.
func readRegular(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP {
		return nil, errors.New("it is a symbolic link")
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errNotRegular)
	}
	return readLimited(f)
}
