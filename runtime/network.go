package runtime

import (
	"errors"
	"os"
	"strconv"

	"loper.run/launch"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// announceNetwork asks whether the container's networks are there.
const announceNetwork = "ready for its networks"

// awaitNetwork lets the container wait for its networks before anything of it
// runs. They are made beside the mounts, from the moment its namespace is there.
func (c *compiler) awaitNetwork() {
	if c.set.Network {
		c.add(launch.Op{Call: launch.Announce, Text: announceNetwork, Field: "linux.namespaces"})
		c.p.Await("wait for the networks", 0)
	}
}

// networkNamespace opens the container's network namespace.
func (s *starting) networkNamespace(p *launch.Process) (*os.File, error) {
	if !has(s.spec, specs.NetworkNamespace) {
		return nil, badField("linux.namespaces", "has no network namespace of the container's own")
	}
	if f := s.files[namespaceInput(specs.NetworkNamespace)]; f != nil {
		return f, nil
	}
	f, err := os.Open("/proc/" + strconv.Itoa(p.Pid()) + "/ns/net")
	if err == nil {
		s.owned = append(s.owned, f)
	}
	return f, err
}

// connect has the caller's networks made while the new process goes on.
func (s *starting) connect(p *launch.Process) error {
	if s.options.Network == nil {
		return nil
	}
	namespace, err := s.networkNamespace(p)
	if err != nil {
		return err
	}
	s.connecting = make(chan error, 1)
	go func() { s.connecting <- s.options.Network(namespace) }()
	return nil
}

// connected waits for the networks, if any are being made.
func (s *starting) connected() error {
	if s.connecting == nil {
		return nil
	}
	err := <-s.connecting
	s.connecting = nil
	return err
}

// letConnected lets the new process go on when its networks are there.
func (s *starting) letConnected(p *launch.Process) error {
	if s.connecting == nil {
		return errors.New("the new process asks twice for its networks")
	}
	if err := s.connected(); err != nil {
		return err
	}
	return p.Send()
}
