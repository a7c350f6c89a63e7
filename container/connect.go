package container

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"loper.run/network"
	"loper.run/network/kernel"
)

// ErrNotConnected says that a container is not on a network.
var ErrNotConnected = errors.New("is not connected to network")

var errModeNetwork = errors.New("container cannot be disconnected from host or none network or connected to host or none network")

// Connect puts the container on one more network, now if it runs, and at each
// start. links are as --link.
func (c *Container) Connect(r network.Request, links []string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if c.damage != nil {
		return c.damage
	}
	if err := c.canConnect(); err != nil {
		return err
	}
	to, err := c.engine.network(r.Network)
	if err != nil {
		return err
	}
	if r.Network = to.Name; to.Name == network.Host || to.Name == network.None {
		return errModeNetwork
	}
	if c.requestOf(to.Name) >= 0 {
		return fmt.Errorf("endpoint with name %s already exists in network %s", c.Name, to.Name)
	}
	if err := checkRequest(r); err != nil {
		return err
	}
	for _, link := range links {
		if _, _, err := ParseLink(link); err != nil {
			return err
		}
	}
	before := c.Settings
	c.Settings.Networks = append(slices.Clone(c.Settings.Networks), r)
	c.Settings.Links = append(slices.Clone(c.Settings.Links), links...)
	st, err := c.status(true)
	if err == nil && st.Alive() {
		err = c.connectNow(r, to.ID, st.Pid)
	}
	if err == nil {
		err = c.save()
	}
	if err != nil {
		c.Settings = before
	}
	return err
}

// canConnect reports whether the container has a place for networks.
func (c *Container) canConnect() error {
	switch c.Settings.Network {
	case "":
		return nil
	case "none":
		return errors.New("container cannot be connected to multiple networks with one of the networks in private (none) mode")
	}
	return errors.New("container sharing network namespace with another container or host cannot be connected to any other network")
}

// requestOf is the index of the network in the container's settings, or -1.
func (c *Container) requestOf(name string) int {
	return slices.IndexFunc(c.Settings.Networks, func(r network.Request) bool { return r.Network == name })
}

// connectNow connects the running container. What it gets is on record before it
// is made, so that whoever finds a half of it takes it down.
func (c *Container) connectNow(r network.Request, id string, pid int) error {
	n, namespace, err := c.running(pid)
	if err != nil {
		return err
	}
	defer namespace.Close()
	if err := guarded(n, namespace); err != nil {
		return err
	}
	// What a killed command left of this goes first.
	if err := c.disconnectNow(n, id, namespace); err != nil {
		return err
	}
	r.Aliases = c.aliases(r)
	e, err := c.engine.Networks.ConnectOne(n, r)
	if err != nil {
		return err
	}
	if err = n.Write(c.RunDir()); err == nil {
		err = c.prepareHost(n)
	}
	if err == nil {
		err = c.supplySpace(n)
	}
	if err == nil {
		err = kernel.ConnectOne(c.engine.Networks, n, e, namespace)
	}
	if err == nil {
		err = c.addHosts(n, e)
	}
	if err != nil {
		return errors.Join(err, c.disconnectNow(n, e.NetworkID, namespace))
	}
	c.tellWord()
	return c.settleNetworks()
}

// endpointOf is the index of the network in what a container has, or -1.
func endpointOf(n *network.Sandbox, name string) int {
	return slices.IndexFunc(n.Endpoints, func(e network.Endpoint) bool { return e.Network == name })
}

// running is what the running container has of networks, and its namespace: that
// of its first process, which still has its number when the file is open, so that
// it is nobody else's.
func (c *Container) running(pid int) (*network.Sandbox, *os.File, error) {
	n, err := c.Sandbox()
	if err != nil {
		return nil, nil, err
	}
	if n == nil {
		n = &network.Sandbox{Container: c.ID, Name: c.Name}
		if err := c.describe(n); err != nil {
			return nil, nil, err
		}
	}
	namespace, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return nil, nil, err
	}
	st, err := c.status(true)
	if err == nil && st.Pid != pid {
		err = fmt.Errorf("%w: %s", ErrNotRunning, c.Name)
	}
	if err != nil {
		namespace.Close()
		return nil, nil, err
	}
	return n, namespace, nil
}

// settleNetworks takes down what a container that has ended meanwhile got too
// late for its monitor to know of it. One whose process lives has a monitor that
// will.
func (c *Container) settleNetworks() error {
	st, err := c.status(true)
	if err != nil || st.Alive() {
		return err
	}
	return c.leaveNetworks()
}

// Disconnect takes the container off a network, now and at each later start. The
// network may be gone already.
func (c *Container) Disconnect(name string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if c.damage != nil {
		return c.damage
	}
	if name == network.Host || name == network.None {
		return errModeNetwork
	}
	from, err := c.engine.network(name)
	if err == nil {
		name = from.Name
	} else if c.requestOf(name) < 0 {
		return err
	}
	st, err := c.status(true)
	if err != nil {
		return err
	}
	i, had := c.requestOf(name), false
	if st.Alive() {
		if had, err = c.leaveNow(name, from, st.Pid); err != nil {
			return err
		}
	}
	if i < 0 && !had {
		return fmt.Errorf("container %s %w %s", c.Name, ErrNotConnected, name)
	}
	if i >= 0 {
		c.Settings.Networks = slices.Delete(slices.Clone(c.Settings.Networks), i, i+1)
	}
	return c.save()
}

// leaveNow takes the running container off a network, which may be gone, and
// reports whether it was there. A command that was killed may have left a part.
func (c *Container) leaveNow(name string, from *network.Network, pid int) (had bool, err error) {
	n, namespace, err := c.running(pid)
	if errors.Is(err, ErrNotRunning) {
		return false, c.settleNetworks()
	}
	if err != nil {
		return false, err
	}
	defer namespace.Close()
	if i := endpointOf(n, name); i >= 0 {
		had, err = true, c.disconnectNow(n, n.Endpoints[i].NetworkID, namespace)
	} else if from != nil {
		err = c.engine.Networks.DisconnectOne(n, from.ID)
	}
	if err != nil {
		return had, err
	}
	return had, c.settleNetworks()
}

// disconnectNow takes the running container off a network: what the kernel has,
// then the record of it, and only then what somebody else may get. Some of it may
// have been done.
func (c *Container) disconnectNow(n *network.Sandbox, id string, namespace *os.File) error {
	if i := slices.IndexFunc(n.Endpoints, func(e network.Endpoint) bool { return e.NetworkID == id }); i >= 0 {
		e := n.Endpoints[i]
		if err := kernel.DisconnectOne(c.engine.Networks, n, &e, namespace); err != nil {
			return err
		}
		if err := c.dropHosts(&e); err != nil {
			return err
		}
		n.Endpoints = slices.Delete(slices.Clone(n.Endpoints), i, i+1)
		if err := n.Write(c.RunDir()); err != nil {
			return err
		}
	}
	return c.engine.Networks.DisconnectOne(n, id)
}

// network finds a network; the default one is made at its first use.
func (e *Engine) network(name string) (*network.Network, error) {
	if name == BridgeNetwork {
		return e.Networks.Default()
	}
	n, err := e.Networks.Get(name)
	if errors.Is(err, network.ErrNotFound) {
		return nil, fmt.Errorf("network %s not found", name)
	}
	return n, err
}

// Forget makes a network forget a container that is no more, by its name or id.
func (e *Engine) Forget(networkName, name string) error {
	n, err := e.network(networkName)
	if err != nil {
		return err
	}
	members, err := e.Networks.Members(n)
	if err != nil {
		return err
	}
	for _, m := range members {
		if (m.Name == name || m.Container == name) && e.gone(m.Container) {
			return e.Networks.Release(m.Container)
		}
	}
	return fmt.Errorf("container %s %w %s", name, ErrNotConnected, n.Name)
}
