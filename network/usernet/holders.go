package usernet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"loper.run/internal/flock"
	"loper.run/internal/netlink"
	"loper.run/internal/netns"
	"loper.run/internal/proc"

	"golang.org/x/sys/unix"
)

// dir is the directory, locked or only looked at.
type dir struct {
	path string
	lock *os.File
}

// lockDir locks the directory, which the last holder removes: so after the lock
// came it is looked whether it is still the one of that name.
func lockDir(runRoot string, make bool) (*dir, error) {
	path := filepath.Join(runRoot, dirName)
	for {
		if make {
			if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
		}
		f, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			if make {
				continue
			}
			return nil, ErrNone
		}
		if err != nil {
			return nil, err
		}
		if err := flock.Lock(f, unix.LOCK_EX); err != nil {
			f.Close()
			return nil, err
		}
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if named, err := os.Lstat(path); err == nil && os.SameFile(locked, named) {
			return &dir{path, f}, nil
		}
		f.Close()
	}
}

func (d *dir) file(name string) string { return filepath.Join(d.path, name) }

// hold notes the calling process as a holder.
func (d *dir) hold(container string) error {
	self, err := proc.Find(os.Getpid())
	if err != nil {
		return err
	}
	return os.WriteFile(d.file(container), []byte(self.String()), 0o600)
}

// holders calls f with the holders that live, until it says false. With sweep,
// which takes the lock, the others are forgotten.
func (d *dir) holders(sweep bool, f func(proc.ID) bool) error {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.ContainsRune(e.Name(), '.') {
			continue // of the way out
		}
		text, err := os.ReadFile(d.file(e.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		id, err := proc.Parse(string(text))
		if err != nil || !id.Alive() {
			if sweep {
				if err := os.Remove(d.file(e.Name())); err != nil {
					return err
				}
			}
			continue
		}
		if !f(id) {
			return nil
		}
	}
	return nil
}

func (d *dir) alive() (alive bool, err error) {
	return alive, d.holders(true, func(proc.ID) bool { alive = true; return false })
}

// find opens the namespaces by the descriptors of a holder. One that has closed
// them is about to leave.
func (d *dir) find(sweep bool) (s *Space, err error) {
	var hidden error
	err = d.holders(sweep, func(id proc.ID) bool {
		var failed error
		if s, failed = opened(id.Pid); failed != nil && id.Alive() {
			hidden = failed
		}
		return s == nil
	})
	switch {
	case err != nil:
		return nil, err
	case s != nil:
		return s, nil
	case hidden != nil:
		return nil, fmt.Errorf("look for the user's network namespace: %w", hidden)
	}
	return nil, ErrNone
}

// opened looks among a process's descriptors for the namespaces: a network
// namespace that belongs to a user namespace of ours.
func opened(pid int) (*Space, error) {
	fds := "/proc/" + strconv.Itoa(pid) + "/fd/"
	entries, err := os.ReadDir(fds)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		to, err := os.Readlink(fds + e.Name())
		if err != nil || !strings.HasPrefix(to, "net:[") {
			continue
		}
		network, err := os.Open(fds + e.Name())
		if err != nil {
			continue
		}
		user, err := netns.Owner(network)
		if err == nil && ours(user) {
			return &Space{User: user, Net: network}, nil
		}
		if err == nil {
			user.Close()
		}
		network.Close()
	}
	return nil, nil
}

// ours tells whether the caller made the user namespace, and right below its own.
func ours(user *os.File) bool {
	uid, err := unix.IoctlGetUint32(int(user.Fd()), unix.NS_GET_OWNER_UID)
	if err != nil || int(uid) != os.Geteuid() {
		return false
	}
	parent, err := unix.IoctlRetInt(int(user.Fd()), unix.NS_GET_PARENT)
	if err != nil {
		return false
	}
	defer unix.Close(parent)
	var a, b unix.Stat_t
	return unix.Fstat(parent, &a) == nil && unix.Stat("/proc/self/ns/user", &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// loopback sets lo up, over a netlink socket that it closes.
func loopback(fd int) error {
	c, err := netlink.New(fd)
	if err != nil {
		return err
	}
	defer c.Close()
	lo, err := c.Link("lo")
	if err == nil {
		err = c.SetUp(lo.Index)
	}
	if err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	return nil
}
