// Package kernel makes what containers have of networks, and takes it down
// again: their interfaces and the host's rules for them.
package kernel

import (
	"errors"
	"os"
	"path/filepath"

	"loper.run/network"
	"loper.run/network/link"
)

// Connect connects a container that is being started, in its network namespace.
// What it made before it failed goes with Disconnect.
func Connect(s *network.Sandbox, namespace *os.File) error {
	return link.Connect(s, namespace)
}

// Disconnect takes down what Connect and ConnectOne made of a container that has
// ended, also if it is half done or was done before.
func Disconnect(s *network.Sandbox) error {
	if network.HostGone() {
		return nil
	}
	return link.Disconnect(s)
}

// ConnectOne connects a running container to one more network; the endpoint is
// one of the sandbox's.
func ConnectOne(s *network.Sandbox, e *network.Endpoint, namespace *os.File) error {
	return link.ConnectOne(s, e, namespace)
}

// DisconnectOne disconnects a running container from one network, the endpoint's.
func DisconnectOne(s *network.Sandbox, e *network.Endpoint, namespace *os.File) error {
	return link.DisconnectOne(s, e, namespace)
}

// TearDown takes down what a network has that nobody is connected to.
func TearDown(n *network.Network) error {
	if network.HostGone() {
		return nil
	}
	return link.TearDown(n)
}

// Leave takes down what a container that has ended had of networks, and then lets
// others have it. Its network.json goes in between: whoever finds it takes down
// what it names, which from then on may be somebody else's.
func Leave(store *network.Store, runDir, container string) error {
	s, err := network.ReadSandbox(runDir)
	if err == nil {
		err = Disconnect(s)
	}
	if err == nil {
		err = os.Remove(filepath.Join(runDir, network.SandboxFile))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return store.Release(container)
}
