package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/network"
	"loper.run/network/kernel"
	"loper.run/network/usernet"
)

// takeNetworks takes the container's addresses, names and ports, and writes down
// for its monitor what it has: nil if it can be on no network. One that is on none
// and may be connected later needs who resolves names.
func (c *Container) takeNetworks() (*network.Sandbox, error) {
	if c.Settings.Network != "" {
		return nil, nil
	}
	if c.engine.Rootless {
		if err := usernet.CheckPorts(c.publish()); err != nil {
			return nil, err
		}
	}
	n, err := c.engine.Networks.Claim(c.ID, c.Name, c.requests(), c.publish())
	if err != nil {
		return nil, err
	}
	if err := c.describe(n); err != nil {
		return nil, err
	}
	if err := n.Write(c.RunDir()); err != nil {
		return nil, err
	}
	if len(n.Ports) > 0 && len(n.Targets()) == 0 && c.engine.Warn != nil {
		c.engine.Warn("published ports lead nowhere: no network of the container has a way in; network connect it to a bridge that is not internal")
	}
	return n, c.prepareHost(n)
}

// prepareHost has the host's rules be as the container needs them, and tells
// what they are like. An ordinary user's networks have a host to themselves.
func (c *Container) prepareHost(n *network.Sandbox) error {
	if c.engine.Rootless {
		return nil
	}
	notes, err := kernel.Prepare(c.engine.Networks, n)
	if c.engine.Warn != nil {
		for _, note := range notes {
			c.engine.Warn(note)
		}
	}
	return err
}

// tellWord tells what the monitor had to do without when it connected the
// container, which runs whether that can be told or not.
func (c *Container) tellWord() {
	if c.Settings.Network != "" || c.engine.Warn == nil {
		return
	}
	word, err := kernel.Word(c.engine.Networks)
	if err != nil {
		word = "what the kernel lacks for networks can't be told: " + err.Error()
	}
	if word != "" {
		c.engine.Warn(word)
	}
}

// requests are the container's networks, in which its host name is a name too.
func (c *Container) requests() []network.Request {
	list := slices.Clone(c.Settings.Networks)
	for i := range list {
		list[i].Aliases = c.aliases(list[i])
	}
	return list
}

// aliases are the names asked for, and the host name, if it is one that a
// network can know.
func (c *Container) aliases(r network.Request) []string {
	name := c.Settings.Hostname
	if name == "" || slices.Contains(r.Aliases, name) || network.CheckAlias(name) != nil {
		return r.Aliases
	}
	return append(slices.Clone(r.Aliases), name)
}

// publish are the ports asked for, and with PublishAll those exposed besides.
func (c *Container) publish() []network.Port {
	list := c.Settings.Ports
	if !c.Settings.PublishAll {
		return list
	}
	type port struct {
		number   uint16
		protocol string
	}
	has := map[port]bool{} // an image may expose all that there are
	for _, p := range list {
		has[port{p.ContainerPort, p.Protocol}] = true
	}
	list = slices.Clip(list)
	for _, word := range c.exposed() {
		ports, _ := parsePublish(word)
		for _, p := range ports {
			if at := (port{p.ContainerPort, p.Protocol}); !has[at] {
				has[at], list = true, append(list, p)
			}
		}
	}
	return list
}

// allPorts is how many there are. An image has room for thousands of words that
// each say all of them.
const allPorts = 3 * 65535

// exposed are the ports that the image and the caller expose, as PORT/PROTOCOL.
func (c *Container) exposed() []string {
	list := slices.Clone(c.Settings.Expose)
	for _, word := range c.Image.Ports {
		if len(list) > allPorts {
			break
		}
		if ports, err := ParseExpose(word); err == nil { // what else an image says is nothing
			list = append(list, ports...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// describe adds what the settings say to what the networks gave.
func (c *Container) describe(n *network.Sandbox) error {
	s := &c.Settings
	n.PublishOpen, n.Egress, n.EgressLog, n.RateIn, n.RateOut = s.PublishOpen, s.Egress, s.EgressLog, s.RateIn, s.RateOut
	if len(n.Egress) == 1 && n.Egress[0] == "all" {
		n.Egress = nil
	}
	for _, word := range s.DNS {
		a, err := parseServer(word)
		if err != nil {
			return err
		}
		n.Nameservers = append(n.Nameservers, a)
	}
	for _, entry := range s.AddHosts {
		name, addr, err := parseHost(entry)
		if err != nil {
			return err
		}
		if addr.IsValid() {
			n.Hosts = append(n.Hosts, network.HostName{Name: name, Address: addr})
			continue
		}
		gateways, err := c.gateways(n)
		if err != nil {
			return fmt.Errorf("host %q: %w", entry, err)
		}
		for _, a := range gateways {
			n.Hosts = append(n.Hosts, network.HostName{Name: name, Address: a})
		}
	}
	return nil
}

// linkHosts are lines for the containers that are linked, which have to run.
func (c *Container) linkHosts(n *network.Sandbox) (string, error) {
	var b strings.Builder
	for _, word := range c.Settings.Links {
		name, alias, err := ParseLink(word)
		if err != nil {
			return "", err
		}
		peer, err := c.engine.Find(name)
		if err != nil {
			return "", fmt.Errorf("link to %s: %w", name, err)
		}
		var other *network.Sandbox
		st, err := peer.Status()
		if err == nil && st.Alive() {
			other, err = peer.Sandbox()
		}
		if err != nil {
			return "", err
		}
		if other == nil {
			//lint:ignore ST1005 docker's words
			return "", fmt.Errorf("Cannot link to a non running container: /%s AS /%s/%s", peer.Name, c.Name, alias)
		}
		found := false
		for _, e := range other.Endpoints {
			if !slices.ContainsFunc(n.Endpoints, func(own network.Endpoint) bool { return own.NetworkID == e.NetworkID }) {
				continue
			}
			for _, a := range e.Addresses {
				found = true
				fmt.Fprintf(&b, "%s\t%s %s", a.Addr(), alias, peer.ShortID())
				if peer.Name != alias {
					b.WriteString(" " + peer.Name)
				}
				b.WriteString("\n")
			}
		}
		if !found {
			//lint:ignore ST1005 docker's words
			return "", fmt.Errorf("Cannot link to %s, as it does not belong to the network %s", peer.Name, strings.Join(c.Settings.NetworkNames(), ", "))
		}
	}
	return b.String(), nil
}

// Sandbox is what a container has of networks that was found to run, nil when it
// is on none or has ended since.
func (c *Container) Sandbox() (*network.Sandbox, error) {
	if c.Settings.Network != "" {
		return nil, nil
	}
	n, err := network.ReadSandbox(c.RunDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return n, err
}

// leaveNetworks takes down what the container, which has ended, had of networks.
func (c *Container) leaveNetworks() error {
	if c.Settings.Network != "" && c.damage == nil {
		return nil
	}
	if err := kernel.Leave(c.engine.Networks, c.RunDir(), c.ID); err != nil {
		return err
	}
	return usernet.Leave(c.engine.RunRoot, c.ID)
}

// gone reports whether a container has ended that a network knows, after it
// cleaned up what a killed monitor left.
func (e *Engine) gone(id string) bool {
	if !isID(id) {
		return false
	}
	d, err := e.lockDir(id, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, ErrNotFound) {
		return true
	}
	if err != nil {
		return false
	}
	defer d.Close()
	c, err := e.read(id)
	if errors.Is(err, ErrNotFound) {
		return true
	}
	if err != nil {
		return false
	}
	st, err := c.status(true)
	return err == nil && !st.Alive() && c.leaveNetworks() == nil
}
