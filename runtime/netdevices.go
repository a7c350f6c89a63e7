package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"loper.run/internal/netlink"
	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Network devices (runtime-spec, "Network Devices") go into the container's
// network namespace before anything of the container runs. From there the
// kernel takes them back when the namespace ends, or ends them with it; only
// what a failed create took is returned by the runtime.

// movedDevice is a network device of the host's that the container has.
type movedDevice struct {
	name      string // on the host
	index     int32  // in the container
	up        bool
	addresses []netlink.Address
}

// keptFlags are those of an address that its new interface gets too.
const keptFlags = unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD | unix.IFA_F_HOMEADDRESS | unix.IFA_F_MCAUTOJOIN | unix.IFA_F_MANAGETEMPADDR

// validateNetDevices finds the mistakes that need no look at the machine.
func validateNetDevices(spec *specs.Spec) error {
	if len(spec.Linux.NetDevices) > 0 && !has(spec, specs.NetworkNamespace) {
		return badField("linux.netDevices", "needs a network namespace of the container's own")
	}
	seen := map[string]bool{}
	for _, host := range deviceNames(spec) {
		field := "linux.netDevices." + host
		inside := nameInside(spec, host)
		for _, name := range []string{host, inside} {
			if name == "" || name == "." || name == ".." || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
				return badField(field, "%q is no name of a network device", name)
			}
		}
		if !strings.Contains(inside, "%d") {
			if seen[inside] {
				return badField(field+".name", "%q is the name of another device too", inside)
			}
			seen[inside] = true
		}
	}
	return nil
}

// deviceNames are the devices' names on the host, in the order in which they
// are moved.
func deviceNames(spec *specs.Spec) []string {
	names := make([]string, 0, len(spec.Linux.NetDevices))
	for name := range spec.Linux.NetDevices {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func nameInside(spec *specs.Spec, host string) string {
	if name := spec.Linux.NetDevices[host].Name; name != "" {
		return name
	}
	return host
}

// moveDevices gives the container its network devices.
func (s *starting) moveDevices(p *launch.Process) error {
	if len(s.spec.Linux.NetDevices) == 0 {
		return nil
	}
	inside, err := s.networkNamespace(p)
	if err != nil {
		return err
	}
	s.network = inside
	host, err := netlink.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	container, err := netlink.OpenIn(inside)
	if err != nil {
		return badField("linux.netDevices", "%w", err)
	}
	defer container.Close()
	for _, name := range deviceNames(s.spec) {
		if err := s.moveDevice(host, container, name, nameInside(s.spec, name)); err != nil {
			return badField("linux.netDevices."+name, "%w", err)
		}
	}
	return nil
}

func (s *starting) moveDevice(host, container *netlink.Conn, name, inside string) error {
	link, err := host.Link(name)
	if err != nil {
		return fmt.Errorf("find the network device %s: %w", name, err)
	}
	if !strings.Contains(inside, "%d") {
		if _, err := container.Link(inside); err == nil {
			return fmt.Errorf("the container has a network device %s already", inside)
		} else if !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("look for a network device %s in the container: %w", inside, err)
		}
	}
	addresses, err := host.Addresses(link.Index)
	if err != nil {
		return fmt.Errorf("list the addresses of %s: %w", name, err)
	}
	addresses = slices.DeleteFunc(addresses, func(a netlink.Address) bool {
		return a.Flags&unix.IFA_F_PERMANENT == 0 || a.Scope != unix.RT_SCOPE_UNIVERSE
	})
	// A name that nobody has tells which of the container's devices it is now.
	// The kernel may give it another index, and chooses what a %d stands for.
	passing := "lope" + strconv.FormatInt(int64(os.Getpid()), 36) + "." + strconv.Itoa(len(s.moved))
	err = host.Move(link.Index, s.network, passing)
	there, findErr := container.Link(passing)
	if findErr != nil && err != nil {
		return fmt.Errorf("move %s to the container's network namespace: %w", name, err)
	}
	if findErr != nil {
		return fmt.Errorf("find %s in the container's network namespace: %w", name, findErr)
	}
	s.moved = append(s.moved, movedDevice{name, there.Index, link.Up, addresses})
	if err := container.Rename(there.Index, inside); err != nil {
		return fmt.Errorf("name it %s: %w", inside, err)
	}
	if err := addAddresses(container, there.Index, addresses); err != nil {
		return err
	}
	if err := container.SetUp(there.Index); err != nil {
		return fmt.Errorf("set %s up: %w", inside, err)
	}
	return nil
}

func addAddresses(c *netlink.Conn, index int32, list []netlink.Address) error {
	for _, a := range list {
		a.Flags &= keptFlags
		if err := c.AddAddress(index, a); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add the address %s: %w", a.Prefix, err)
		}
	}
	return nil
}

// returnDevices gives the host back what a failed create took, as it was.
func (s *starting) returnDevices() error {
	if len(s.moved) == 0 {
		return nil
	}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	host, err := netlink.Open()
	if err != nil {
		return err
	}
	defer host.Close()
	container, err := netlink.OpenIn(s.network)
	if err != nil {
		return err
	}
	defer container.Close()
	var failed error
	for _, d := range slices.Backward(s.moved) {
		if err := d.giveBack(host, container, own); err != nil {
			failed = errors.Join(failed, fmt.Errorf("return the network device %s: %w", d.name, err))
		}
	}
	s.moved = nil
	return failed
}

func (d movedDevice) giveBack(host, container *netlink.Conn, own *os.File) error {
	if err := container.Move(d.index, own, d.name); err != nil {
		return err
	}
	link, err := host.Link(d.name)
	if err != nil {
		return err
	}
	if err := addAddresses(host, link.Index, d.addresses); err != nil || !d.up {
		return err
	}
	return host.SetUp(link.Index)
}
