package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// descriptorsFile, beside the images, holds what the standard streams were. The
// form is that of other runtimes, which know pipes only.
const descriptorsFile = "descriptors.json"

// streamNames are what the first process's standard streams are to criu: pipes
// by their inode, other files only if they lie on no mount of the container's
// and so must come from outside at a restore.
func (c *Container) streamNames(mounts []*mountinfo.Info) ([]string, error) {
	inside := map[int]bool{}
	for _, m := range mounts {
		inside[m.ID] = true
	}
	var names []string
	for i := range streamInputs {
		name, err := c.streamName(i, inside)
		if errors.Is(err, os.ErrNotExist) {
			name, err = "", nil // it was closed
		}
		if err != nil {
			return nil, fmt.Errorf("look at the standard streams: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}

func (c *Container) streamName(i int, inside map[int]bool) (string, error) {
	proc, fd := "/proc/"+strconv.Itoa(c.state.Pid), strconv.Itoa(i)
	name, err := os.Readlink(proc + "/fd/" + fd)
	if err != nil || !strings.HasPrefix(name, "/") {
		return name, err
	}
	info, err := os.ReadFile(proc + "/fdinfo/" + fd)
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(info), "mnt_id:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	mount, err := strconv.Atoi(text)
	if err != nil || inside[mount] {
		return name, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(proc+"/fd/"+fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && unix.Major(st.Rdev) >= 136 && unix.Major(st.Rdev) <= 143 {
		return name, nil // a terminal, which only --shell-job can handle
	}
	return fmt.Sprintf("file[%x:%x]", mount, st.Ino), nil
}

// external tells whether a stream's name is one of a file outside.
func externalStream(name string) bool { return strings.HasPrefix(name, "file[") }

func writeStreams(dir *os.File, names []string) error {
	data, err := json.Marshal(names)
	if err != nil {
		return err
	}
	f, err := openIn(dir, descriptorsFile, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}

// boundFile, beside the images, tells that the processes end with the one that
// restores them: criu restores the signal too that does so.
const boundFile = "bound"

// writeBound remembers whether the container ended with who made it.
func (c *Container) writeBound(images *os.File) error {
	if !c.state.Bound {
		err := unix.Unlinkat(int(images.Fd()), boundFile, 0) // an earlier checkpoint's
		if errors.Is(err, unix.ENOENT) {
			err = nil
		}
		return err
	}
	f, err := openIn(images, boundFile, unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	return f.Close()
}

// refuseBound refuses to restore processes that would end at once.
func refuseBound(images *os.File, detached bool) error {
	if detached && unix.Faccessat(int(images.Fd()), boundFile, unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil {
		return errors.New("the container was run in the foreground and ends with who restores it: restore it without --detach")
	}
	return nil
}

// maxStreams bounds the file of the streams' names.
const maxStreams = 1 << 16

// readStreams reads the names of the standard streams. Images of others may
// have none.
func readStreams(images *os.File) ([]string, error) {
	f, err := openIn(images, descriptorsFile, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxStreams))
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return nil, fmt.Errorf("%s of the checkpoint: %w", descriptorsFile, err)
	}
	return names[:min(len(names), len(streamInputs))], nil
}

// openIn opens a file right in a directory, and none that a link leads to.
func openIn(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir.Name() + "/" + name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
