package monitor

import (
	"errors"
	"os"

	"loper.run/network"
	"loper.run/network/dns"
	"loper.run/network/kernel"
	"loper.run/network/usernet"
)

// connect is what gives the container its networks while it starts, and where it
// asks for names; nil when it has none.
func connect(c *Config, names *dns.Descriptors) (func(namespace *os.File) error, error) {
	if c.Networks == nil {
		return nil, nil
	}
	n, err := network.ReadSandbox(c.RunDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	store := network.Store{RunRoot: c.Networks.RunRoot}
	return func(namespace *os.File) (err error) {
		if err = kernel.Connect(n, namespace); err == nil {
			*names, err = dns.Listen(c.RunDir, store.Dir(""), namespace)
		}
		if err == nil && c.space != nil && c.space.Carrier != nil {
			err = usernet.Publish(c.space.Carrier, n)
		}
		return err
	}, nil
}

// disconnect takes down what the container had of networks.
func disconnect(c *Config) error {
	if c.Networks == nil {
		return nil
	}
	store := network.Store{Root: c.Networks.Root, RunRoot: c.Networks.RunRoot}
	if err := kernel.Leave(&store, c.RunDir, c.ID); err != nil {
		return err
	}
	return usernet.Leave(c.Networks.RunRoot, c.ID)
}
