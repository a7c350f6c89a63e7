package network

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/internal/atomicfile"
)

// Spec is what is asked of a new network, beyond what it keeps as it is.
type Spec struct {
	Network
	NoIPv4, NoIPv6 bool // no subnet of this family
	IPv4, IPv6     bool // one of this family, though subnets are given and none of them is
}

// Default is the network that containers are in when nothing else is asked, made
// at its first use.
func (s *Store) Default() (*Network, error) {
	for {
		n, err := s.read(Bridge)
		if !errors.Is(err, ErrNotFound) {
			return n, err
		}
		n, err = s.create(Spec{Network: Network{Name: Bridge, Driver: Bridge}})
		if !errors.Is(err, ErrExists) {
			return n, err
		}
	}
}

// Create makes a network: what is empty of its id, subnets, gateways and
// interface is chosen. An empty name is made up.
func (s *Store) Create(spec Spec) (*Network, error) {
	switch spec.Name {
	case Bridge, Host, None, "default", "container", "ns", "pasta", "slirp4netns":
		return nil, fmt.Errorf("%s is a %w and cannot be made", spec.Name, ErrPredefined)
	}
	return s.create(spec)
}

func (s *Store) create(spec Spec) (*Network, error) {
	var defaults Defaults
	if s.Defaults != nil {
		var err error
		if defaults, err = s.Defaults(); err != nil {
			return nil, err
		}
	}
	// As with Docker: whoever wants to be reached from another network publishes a port.
	spec.Isolated = spec.Driver == Bridge || spec.Driver == ""
	spec.withDefaults(defaults.Options)
	if err := spec.check(); err != nil {
		return nil, err
	}
	n := spec.Network
	lock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	all, err := s.sweep()
	if err != nil {
		return nil, err
	}
	if n.Name == "" {
		n.Name = freeName(all)
	}
	for _, other := range all {
		if other.Name == n.Name {
			return nil, fmt.Errorf("network with name %s %w (%.12s)", n.Name, ErrExists, other.ID)
		}
		if isHex(n.Name) && strings.HasPrefix(other.ID, n.Name) && len(n.Name) >= 12 {
			return nil, fmt.Errorf("network with id %s %w: %s", n.Name, ErrExists, other.Name)
		}
	}
	var id [idLen / 2]byte
	if err := random(id[:]); err != nil {
		return nil, err
	}
	n.ID, n.Created = hex.EncodeToString(id[:]), time.Now().UTC()
	if err := s.settle(&n, spec, all, defaults.Pools); err != nil {
		return nil, err
	}
	return &n, s.write(&n)
}

// write makes a network be there, all at once.
func (s *Store) write(n *Network) error {
	dir := s.path(n.Name)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = atomicfile.WriteJSON(s.path(n.Name, networkFile), n, 0o600, atomicfile.Durable)
	}
	if err == nil {
		err = atomicfile.SyncDir(s.path())
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return err
}

// sweep removes what killed commands left of networks, under the store's lock,
// and lists those that there are.
func (s *Store) sweep() ([]*Network, error) {
	all, err := s.own()
	if err != nil {
		return nil, err
	}
	names, ids := map[string]bool{}, map[string]bool{}
	for _, n := range all {
		names[n.Name], ids[n.ID] = true, true
	}
	entries, err := os.ReadDir(s.path())
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if entry.Name() != ulaFile && !names[entry.Name()] {
			if err := os.RemoveAll(s.path(entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	entries, err = os.ReadDir(s.Dir(""))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if isID(entry.Name()) && !ids[entry.Name()] {
			if err := os.RemoveAll(s.Dir(entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// ula is the random prefix of 48 bits that this store's IPv6 subnets begin with,
// as RFC 4193 has it.
func (s *Store) ula() (netip.Prefix, error) {
	path := s.path(ulaFile)
	data, err := os.ReadFile(path)
	if err == nil {
		p, err := netip.ParsePrefix(strings.TrimSpace(string(data)))
		if err == nil && p.Bits() == 48 && p.Addr().Is6() {
			return p.Masked(), nil
		}
		return p, fmt.Errorf("%s: %q is no IPv6 prefix of 48 bits", path, data)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return netip.Prefix{}, err
	}
	b := [16]byte{0: 0xfd}
	if err := random(b[1:6]); err != nil {
		return netip.Prefix{}, err
	}
	p := netip.PrefixFrom(netip.AddrFrom16(b), 48)
	return p, atomicfile.Write(path, []byte(p.String()+"\n"), 0o600, atomicfile.Durable)
}

// random fills a few bytes by the kernel. Package crypto/rand would be linked into
// every monitor, and tests itself at each start.
func random(b []byte) error {
	for {
		n, err := unix.Getrandom(b, 0)
		if err == nil && n < len(b) {
			err = io.ErrUnexpectedEOF
		}
		if err != unix.EINTR {
			return os.NewSyscallError("getrandom", err)
		}
	}
}

// freeName makes up a name as podman does.
func freeName(all []*Network) string {
	for i := 1; ; i++ {
		name := fmt.Sprintf("network%d", i)
		taken := false
		for _, n := range all {
			taken = taken || n.Name == name
		}
		if !taken {
			return name
		}
	}
}
