package container

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"loper.run/image/overlay"
)

// maxAccounts bounds /etc/passwd and /etc/group of an image.
const maxAccounts = 1 << 20

// accounts are the container's /etc/passwd and /etc/group, nil where missing.
// They are only ever parsed here, by Go: nothing of a container is executed or
// loaded to look up its users.
type accounts struct {
	passwd, group []byte
}

// layerAccounts reads the accounts of a root file system made of layers, the
// lowest first.
func layerAccounts(layers []string) (a accounts, err error) {
	m, err := overlay.Open(layers)
	if err != nil {
		return a, err
	}
	defer m.Close()
	read := func(path string) (data []byte, err error) {
		err = m.Walk(path, func(f overlay.Entry) error {
			file, err := f.Open()
			if err != nil {
				return err
			}
			defer file.Close()
			data, err = readAccounts(file, path)
			return err
		})
		return data, noneIfMissing(path, err)
	}
	if a.passwd, err = read("etc/passwd"); err == nil {
		a.group, err = read("etc/group")
	}
	return a, err
}

// processAccounts reads the accounts in the root of a running process.
func processAccounts(pid int) (a accounts, err error) {
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return a, err
	}
	defer root.Close()
	read := func(path string) ([]byte, error) {
		fd, err := unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != nil {
			return nil, noneIfMissing(path, err)
		}
		file := os.NewFile(uintptr(fd), path)
		defer file.Close()
		return readAccounts(file, path)
	}
	if a.passwd, err = read("etc/passwd"); err == nil {
		a.group, err = read("etc/group")
	}
	return a, err
}

func noneIfMissing(path string, err error) error {
	if err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return fmt.Errorf("container's /%s: %w", path, err)
}

func readAccounts(f *os.File, path string) ([]byte, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("container's /%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAccounts+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAccounts {
		return nil, fmt.Errorf("container's /%s is larger than %d bytes", path, maxAccounts)
	}
	return data, nil
}
