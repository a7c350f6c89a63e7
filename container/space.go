package container

import (
	"loper.run/network"
	"loper.run/network/usernet"
)

// useSpace makes an ordinary user's namespaces the place of the networks, if
// they are there. What goes wrong is told to whoever enters them; a command that
// needs no network goes on.
func (e *Engine) useSpace() {
	if !e.Rootless {
		return
	}
	if s, err := usernet.Find(e.RunRoot); err == nil {
		s.User.Close()
		s.Use()
	}
}

// enterSpace makes an ordinary user's namespaces for a container that may have
// networks, when it knows which, or finds them; nil for others. It is let go of by
// leaveNetworks, or by the monitor that it is handed to.
func (c *Container) enterSpace(networks func() (*network.Sandbox, error)) (*usernet.Space, error) {
	if !c.engine.Rootless || c.Settings.Network != "" {
		return nil, nil
	}
	n, err := networks()
	if err != nil {
		return nil, err
	}
	var needs usernet.Needs
	if n != nil {
		needs = usernet.NeedsOf(n)
	}
	s, err := usernet.Enter(c.engine.RunRoot, c.ID, needs)
	if err != nil {
		return nil, err
	}
	s.Use()
	c.engine.missing(s)
	return s, nil
}

// supplySpace makes a way out for a container that runs without one and now has
// a network that leads there. loper-net stays if another container needs it too;
// pasta stays in any case.
func (c *Container) supplySpace(n *network.Sandbox) error {
	if !c.engine.Rootless {
		return nil
	}
	s, err := usernet.Supply(c.engine.RunRoot, usernet.Needs{Out: usernet.NeedsOf(n).Out})
	if err != nil {
		return err
	}
	c.engine.missing(s)
	s.Close()
	return nil
}

// missing tells what an ordinary user's networks lack.
func (e *Engine) missing(s *usernet.Space) {
	if s.NoWay != nil && e.Warn != nil {
		e.Warn(s.NoWay.Error())
	}
}
