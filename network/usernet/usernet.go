// Package usernet keeps the two namespaces in which an ordinary user's networks
// are: a user namespace with all of the user's ids, and a network namespace of
// that with the bridges, the rules and the way out. They are made with the first
// container that has a network and end with the last one.
//
// Nobody but the containers' monitors holds them: by their descriptors the
// kernel lets the namespaces live, and by /proc the next command finds them. A
// directory in the run root says who holds them, and is locked while that changes.
package usernet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"loper.run/internal/netcontrol"
	"loper.run/internal/netns"

	"golang.org/x/sys/unix"
)

// dirName is the directory in the run root. In it, beside the holders' files,
// which are called as their containers, are those of the way out.
const dirName = "usernet"

// Space is the two namespaces, and what keeps their ways to the host open.
type Space struct {
	User, Net *os.File
	// Carrier is a connection to loper-net, without which it ends; nil: it is not
	// needed.
	Carrier *netcontrol.Client
	// NoWay says why nothing leads out although that was asked for.
	NoWay error
}

// Needs are what a container needs beside the namespaces.
type Needs struct {
	Out   bool // a way out
	Ports bool // somebody to carry what comes to ports of the host
}

// Close lets go of all of it.
func (s *Space) Close() {
	s.User.Close()
	s.Net.Close()
	if s.Carrier != nil {
		s.Carrier.Close()
	}
}

// ErrNone is returned when no container has a network.
var ErrNone = errors.New("the user has no network namespace")

// Enter finds the user's namespaces or makes them, with what a container needs.
// The caller holds them from then on in the container's name, until another
// process says Hold or somebody says Leave for that. Without a way out there is
// a reason in the Space; ports that nobody can carry are an error.
func Enter(runRoot, container string, needs Needs) (s *Space, err error) {
	d, err := lockDir(runRoot, true)
	if err != nil {
		return nil, err
	}
	defer d.lock.Close()
	if s, err = d.find(true); errors.Is(err, ErrNone) {
		if err = d.endOut(); err == nil { // of namespaces that are gone
			s, err = create()
		}
	}
	if err != nil {
		return nil, err
	}
	if err = d.hold(container); err == nil {
		err = d.carry(s, needs)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Supply gives the namespaces, which are there, what a running container needs
// from now on.
func Supply(runRoot string, needs Needs) (s *Space, err error) {
	d, err := lockDir(runRoot, false)
	if err != nil {
		return nil, err
	}
	defer d.lock.Close()
	if s, err = d.find(true); err != nil {
		return nil, err
	}
	if err = d.carry(s, needs); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Find opens the user's namespaces, ErrNone: there are none. It waits for nobody.
func Find(runRoot string) (*Space, error) {
	d := dir{path: filepath.Join(runRoot, dirName)}
	return d.find(false)
}

// Hold makes the calling process the one that holds the namespaces for a
// container, whose Enter gave them to it.
func Hold(runRoot, container string) error {
	d, err := lockDir(runRoot, false)
	if err != nil {
		return err
	}
	defer d.lock.Close()
	if _, err := os.Lstat(d.file(container)); err != nil {
		return fmt.Errorf("who made the user's network namespace has ended: %w", err)
	}
	return d.hold(container)
}

// Leave says that a container holds the namespaces no longer, and ends what the
// last one leaves behind. It is nothing for a container that did not hold them.
func Leave(runRoot, container string) error {
	if _, err := os.Lstat(filepath.Join(runRoot, dirName, container)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d, err := lockDir(runRoot, false)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.lock.Close()
	if err := os.Remove(d.file(container)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	alive, err := d.alive()
	if alive || err != nil {
		return err
	}
	if err := d.endOut(); err != nil {
		return err
	}
	return os.RemoveAll(d.path)
}

// create makes the namespaces, ready for bridges.
func create() (*Space, error) {
	user, network, err := netns.New()
	if err != nil {
		return nil, err
	}
	s := &Space{User: user, Net: network}
	if err := setUp(network); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// settings of the network namespace: it forwards for the containers, and listens
// to no router.
var settings = []struct{ path, value string }{
	{"ipv4/ip_forward", "1"},
	{"ipv6/conf/all/forwarding", "1"},
	{"ipv6/conf/default/forwarding", "1"},
	{"ipv6/conf/all/accept_ra", "0"},
	{"ipv6/conf/default/accept_ra", "0"},
	{"ipv4/conf/all/accept_redirects", "0"},
	{"ipv4/conf/default/accept_redirects", "0"},
	{"ipv6/conf/all/accept_redirects", "0"},
	{"ipv6/conf/default/accept_redirects", "0"},
}

func setUp(network *os.File) error {
	wants := []netns.Want{netns.Netlink(unix.NETLINK_ROUTE)}
	for _, s := range settings {
		wants = append(wants, netns.Want{Setting: s.path})
	}
	fds, err := netns.Open(network, wants...)
	if err != nil {
		return err
	}
	err = loopback(fds[0])
	for i, s := range settings {
		fd := fds[1+i]
		if fd < 0 {
			continue // without IPv6
		}
		if _, e := unix.Write(fd, []byte(s.value)); e != nil && err == nil {
			err = &os.PathError{Op: "write", Path: "/proc/sys/net/" + s.path, Err: e}
		}
		unix.Close(fd)
	}
	return err
}
