package container

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"loper.run/network"
	"loper.run/network/egress"
)

// loosening are the capabilities that get around the rules of --egress: the one
// changes the packet filter of the container's network, the other sends past it.
var loosening = []string{"CAP_NET_ADMIN", "CAP_NET_RAW"}

// checkEgress refuses rules that nobody understands, and those that the
// container itself could take away: its own, and those of a container whose
// network it joins, or could join.
func (c *Container) checkEgress(f *facts) error {
	guarded := ""
	if rules, err := egress.Parse(c.Settings.Egress); err != nil {
		return err
	} else if rules != nil {
		guarded = "--egress"
	}
	if c.Settings.EgressLog && guarded == "" {
		return errors.New("--egress-log without --egress: nothing is refused")
	}
	for _, name := range c.Settings.peers() {
		// Who is in its user namespace and sees its processes can join its network.
		if peer := "container:" + name; c.Settings.Network != peer && c.Settings.PidMode != peer {
			continue
		}
		p, err := c.engine.Find(name)
		if err != nil {
			return err
		}
		if rules, err := egress.Parse(p.Settings.Egress); rules != nil || err != nil {
			guarded = "the egress rules of container " + name
		}
	}
	if guarded == "" {
		return nil
	}
	caps, err := c.capabilities(f)
	if err != nil {
		return err
	}
	for _, name := range loosening {
		if slices.Contains(caps, name) {
			return fmt.Errorf("conflicting options: with %s a container can get around %s", name, guarded)
		}
	}
	return nil
}

// guarded refuses to connect a container that has rules where they are not: its
// first process may have gone to a network namespace of its own.
func guarded(n *network.Sandbox, namespace *os.File) error {
	if len(n.Egress) == 0 {
		return nil
	}
	var at unix.Stat_t
	if err := unix.Fstat(int(namespace.Fd()), &at); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if at.Ino != n.Guarded {
		return errors.New("the container's process is in another network namespace than its egress rules: it can't be connected")
	}
	return nil
}
