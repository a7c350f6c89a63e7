package monitor

import (
	"errors"
	"os"

	"loper.run/network"
	"loper.run/network/kernel"
)

// connect is what gives the container its networks while it starts; nil when it
// has none.
func connect(c *Config) (func(namespace *os.File) error, error) {
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
	return func(namespace *os.File) error { return kernel.Connect(n, namespace) }, nil
}

// disconnect takes down what the container had of networks.
func disconnect(c *Config) error {
	if c.Networks == nil {
		return nil
	}
	store := network.Store{Root: c.Networks.Root, RunRoot: c.Networks.RunRoot}
	return kernel.Leave(&store, c.RunDir, c.ID)
}
