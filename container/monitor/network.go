package monitor

import (
	"os"

	"loper.run/network"
	"loper.run/network/dns"
	"loper.run/network/kernel"
	"loper.run/network/usernet"
)

// store is where the container's networks are.
func (n *Networks) store() *network.Store {
	return &network.Store{Root: n.Root, RunRoot: n.RunRoot}
}

// connect is what gives the container its networks while it starts, and where it
// asks for names; nil when it has none.
func connect(c *Config, names *dns.Descriptors, g *guard) func(namespace *os.File) error {
	if c.Networks == nil {
		return nil
	}
	store := c.Networks.store()
	return func(namespace *os.File) error {
		n, err := network.ReadSandbox(c.RunDir)
		if err == nil {
			err = g.prepare(n, namespace)
		}
		if err == nil && n.Guarded != 0 {
			err = n.Write(c.RunDir)
		}
		if err == nil {
			err = kernel.Connect(store, n, namespace)
		}
		if err == nil {
			*names, err = dns.Listen(c.RunDir, store.Dir(""), namespace)
		}
		if err == nil && c.space != nil && c.space.Carrier != nil {
			err = usernet.Publish(c.space.Carrier, n)
		}
		return err
	}
}

// leave gives up what the container had of networks. After an error the next
// command finds what is left.
func leave(c *Config) error {
	if c.Networks == nil {
		return nil
	}
	if err := kernel.Leave(c.Networks.store(), c.RunDir, c.ID); err != nil {
		return err
	}
	return usernet.Leave(c.Networks.RunRoot, c.ID)
}
