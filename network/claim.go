package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Claim gives a container its addresses and names in networks, and its ports: all
// that was asked for, or nothing. What it had is given up before.
func (s *Store) Claim(container, name string, requests []Request, ports []Port) (*Sandbox, error) {
	if !isID(container) {
		return nil, fmt.Errorf("%q is not the id of a container", container)
	}
	if err := s.Release(container); err != nil {
		return nil, err
	}
	sb := &Sandbox{Container: container, Name: name}
	var err error
	for _, r := range requests {
		if _, err = s.ConnectOne(sb, r); err != nil {
			break
		}
	}
	if err == nil {
		ports = sb.publish(ports)
		err = sb.checkTargets(ports)
	}
	if err == nil {
		sb.Ports, err = s.claimPorts(container, ports)
	}
	if err != nil {
		return nil, errors.Join(err, s.Release(container))
	}
	return sb, nil
}

// publish gives ports the host address that a network has for those without one.
func (sb *Sandbox) publish(ports []Port) []Port {
	for _, e := range sb.Endpoints {
		if !e.Publish.IsValid() {
			continue
		}
		ports = slices.Clone(ports)
		for i := range ports {
			if !ports[i].Host.IsValid() {
				ports[i].Host = e.Publish
			}
		}
		break
	}
	return ports
}

// ConnectOne gives a container a place in one more network and adds it to the
// sandbox. ErrConnected: it has one there. There is one caller for a container at
// a time.
func (s *Store) ConnectOne(sb *Sandbox, r Request) (*Endpoint, error) {
	n, hold, err := s.hold(cmp.Or(r.Network, Bridge))
	if err != nil {
		return nil, err
	}
	defer hold.Close()
	e, names, err := n.endpoint(sb, r)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{endpointDir, addressDir, nameDir} {
		if err := os.MkdirAll(filepath.Join(s.Dir(n.ID), dir), 0o700); err != nil {
			return nil, err
		}
	}
	m := &Member{Container: sb.Container, Name: sb.Name, Names: names, Endpoint: *e}
	err = s.begin(n, sb.Container)
	if errors.Is(err, ErrConnected) && !slices.ContainsFunc(sb.Endpoints, func(e Endpoint) bool { return e.NetworkID == n.ID }) {
		// Whoever took this was killed before the container had it.
		if err = s.releaseFrom(n.ID, sb.Container); err == nil {
			err = s.begin(n, sb.Container)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.take(n, m, r); err != nil {
		return nil, errors.Join(fmt.Errorf("network %s: %w", n.Name, err), s.releaseFrom(n.ID, sb.Container))
	}
	sb.Endpoints = append(sb.Endpoints, m.Endpoint)
	return &sb.Endpoints[len(sb.Endpoints)-1], nil
}

// begin leaves word that the container is about to take something.
func (s *Store) begin(n *Network, container string) error {
	f, err := os.OpenFile(filepath.Join(s.Dir(n.ID), endpointDir, container), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w: to network %s", ErrConnected, n.Name)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(container)
	return errors.Join(err, f.Close())
}

// take takes addresses and names for a member and makes it be seen.
func (s *Store) take(n *Network, m *Member, r Request) error {
	for i, sub := range n.Subnets {
		want := r.IP
		if sub.Prefix.Addr().Is6() {
			if !hasIPv6() {
				continue
			}
			want = r.IP6
		}
		a, err := s.takeAddress(n, &n.Subnets[i], m.Container, want)
		if err != nil {
			return err
		}
		m.Endpoint.Addresses = append(m.Endpoint.Addresses, netip.PrefixFrom(a, sub.Prefix.Bits()))
		if sub.Gateway.IsValid() {
			m.Endpoint.Gateways = append(m.Endpoint.Gateways, sub.Gateway)
		}
	}
	if m.Endpoint.MAC == "" && n.Driver != Ipvlan {
		m.Endpoint.MAC = makeMAC(n, m)
	}
	if err := takeNames(s.Dir(n.ID), m); err != nil {
		return err
	}
	return m.write(s.Dir(n.ID))
}

// endpoint is a place in the network as it is asked for, without addresses, and
// the names that it is found by.
func (n *Network) endpoint(sb *Sandbox, r Request) (*Endpoint, []string, error) {
	e := &Endpoint{
		Network: n.Name, NetworkID: n.ID, Driver: n.Driver, Link: n.Interface, Mode: n.Mode, MTU: n.MTU, VLAN: n.VLAN,
		Internal: n.Internal, Isolated: n.Isolated, NoICC: n.NoICC, Publish: n.Publish, NoMasquerade: n.NoMasquerade,
		NoDNS: n.NoDNS, Nameservers: n.Nameservers, NoDefault: n.NoDefault, Metric: n.Metric, Routes: n.Routes,
		Aliases: r.Aliases, Priority: r.Priority,
	}
	if n.Driver == Bridge {
		e.HostInterface = hostInterface(sb.Container)
	}
	for _, want := range []netip.Addr{r.IP, r.IP6} {
		if want.IsValid() && !slices.ContainsFunc(n.Subnets, func(sub Subnet) bool { return sub.Prefix.Addr().Is4() == want.Is4() }) {
			return nil, nil, fmt.Errorf("network %s has no subnet that %s could be in", n.Name, want)
		}
	}
	if r.IP.IsValid() && !r.IP.Is4() || r.IP6.IsValid() && !r.IP6.Is6() {
		return nil, nil, fmt.Errorf("network %s: --ip takes an IPv4 address and --ip6 an IPv6 address", n.Name)
	}
	var err error
	if e.MAC, err = ParseMAC(r.MAC); err != nil {
		return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	if e.Interface, err = n.interfaceName(sb, r.Interface); err != nil {
		return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
	}
	names, err := namesOf(sb, r.Aliases)
	return e, names, err
}

// interfaceName is a free name of an interface in the container.
func (n *Network) interfaceName(sb *Sandbox, want string) (string, error) {
	taken := func(name string) bool {
		return slices.ContainsFunc(sb.Endpoints, func(e Endpoint) bool { return e.Interface == name })
	}
	if want != "" {
		if err := CheckInterface(want); err != nil {
			return "", err
		}
		if taken(want) {
			return "", fmt.Errorf("two interfaces of the container would have the name %s", want)
		}
		return want, nil
	}
	for i := 0; ; i++ {
		if name := cmp.Or(n.Prefix, "eth") + strconv.Itoa(i); !taken(name) {
			return name, nil
		}
	}
}
