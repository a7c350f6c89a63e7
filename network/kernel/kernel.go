// Package kernel makes what containers have of networks, and takes it down
// again: their interfaces and the host's rules for them.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"loper.run/internal/nft"
	"loper.run/network"
	"loper.run/network/firewall"
	"loper.run/network/link"
)

// Prepare is called before a container that is on networks starts. It puts back
// what somebody took away of the host's rules, and has the host's own firewall let
// through what is the container's. It returns what people should know, a line each.
func Prepare(store *network.Store, s *network.Sandbox) (notes []string, err error) {
	return firewall.Of(store).Ensure(s)
}

// Repair makes a running container's bridges again that somebody deleted, and
// puts its interfaces on them. RepairRules comes after the last one.
func Repair(s *network.Sandbox) error {
	if network.HostGone() {
		return nil
	}
	return link.Repair(s)
}

// RepairRules makes the host's rules for all running containers again.
func RepairRules(store *network.Store) error {
	if network.HostGone() {
		return nil
	}
	return firewall.Of(store).Repair()
}

// Heal puts back what somebody took away of the host's rules for running
// containers, and tells what it was; see firewall.Firewall.Heal.
func Heal(store *network.Store, gone func() bool) (firewall.Healed, error) {
	if network.HostGone() {
		return firewall.Healed{}, nil
	}
	return firewall.Of(store).Heal(gone)
}

// Connect connects a container that is being started, in its network namespace.
// What it made before it failed goes with Leave.
func Connect(store *network.Store, s *network.Sandbox, namespace *os.File) error {
	return advise(link.Connect(s, namespace, attach(store, s)))
}

// attach makes the rules for a container, and leaves word of what could not be
// made for it.
func attach(store *network.Store, s *network.Sandbox) func(lacks string) error {
	return func(lacks string) error {
		if lacks != "" {
			if err := leaveWord(store, lacks); err != nil {
				return err
			}
		}
		return firewall.Of(store).Attach(s)
	}
}

// advise tells who lacks a module of the kernel what goes without.
func advise(err error) error {
	if refused, ok := errors.AsType[*nft.Error](err); ok && refused.Module != "" {
		return fmt.Errorf("%w: load it (modprobe), or do with --network none", err)
	}
	return err
}

// ConnectOne connects a running container to one more network; the endpoint is
// one of the sandbox's.
func ConnectOne(store *network.Store, s *network.Sandbox, e *network.Endpoint, namespace *os.File) error {
	return link.ConnectOne(s, e, namespace, attach(store, s))
}

// DisconnectOne disconnects a running container from one network, the endpoint's.
// Ports that led there lead to another one then.
func DisconnectOne(store *network.Store, s *network.Sandbox, e *network.Endpoint, namespace *os.File) error {
	rules := firewall.Of(store)
	one := *s // its other networks go on
	one.Endpoints = []network.Endpoint{*e}
	if err := rules.Detach(&one); err != nil {
		return err
	}
	if err := link.DisconnectOne(s, e, namespace); err != nil {
		return err
	}
	rest := *s
	rest.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(other network.Endpoint) bool { return other.NetworkID == e.NetworkID })
	return rules.Attach(&rest)
}

// TearDown takes down what a network has that nobody is connected to.
func TearDown(store *network.Store, n *network.Network) error {
	if network.HostGone() {
		return nil
	}
	if err := firewall.Of(store).RemoveNetwork(n); err != nil {
		return err
	}
	all, err := store.List()
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.ID != n.ID && other.Interface == n.Interface { // a parent
			return nil
		}
	}
	return link.TearDown(n)
}

// Leave ends the interfaces of a container that has ended, closes its ports and
// gives up its addresses, also if that is half done or was done before. The
// network.json goes in between: whoever finds it takes down what it names, which
// from then on may be somebody else's.
func Leave(store *network.Store, runDir, container string) error {
	s, err := network.ReadSandbox(runDir)
	if err != nil {
		return store.Release(container) // it had nothing of the kernel's, or nobody knows what
	}
	if !network.HostGone() {
		if err := link.Disconnect(s); err != nil {
			return err
		}
	}
	forget := func() error {
		err := os.Remove(filepath.Join(runDir, network.SandboxFile))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if network.HostGone() {
		err = forget()
	} else {
		err = firewall.Of(store).Leave(s, forget)
	}
	if err != nil {
		return err
	}
	return store.Release(s.Container)
}
