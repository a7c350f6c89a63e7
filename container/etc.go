package container

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"loper.run/network"
)

// The generated files of /etc.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// makeEtc makes the files for /etc, still empty. They lie in RunDir, which is
// usually memory, as every start makes them anew.
func (c *Container) makeEtc() error {
	for _, name := range []string{hostsFile, hostnameFile, resolvFile} {
		if err := os.WriteFile(c.runFile(name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeEtc writes the files for /etc when it is known what the container has of
// networks. They are owned by the container's root so that it may change them.
func (c *Container) writeEtc(f *facts, networks func() (*network.Sandbox, error)) error {
	n, err := networks()
	if err != nil {
		return err
	}
	hosts, err := c.hosts(f, n)
	if err != nil {
		return err
	}
	resolv, err := c.resolv(n)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{hostsFile: hosts, hostnameFile: []byte(c.hostname(f) + "\n"), resolvFile: resolv} {
		path := c.runFile(name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
		if err := chownMapped(path, 0, 0, f.uids, f.gids, f.rootless); err != nil {
			return err
		}
	}
	return nil
}

// hosts is the host's file in the host's network, a peer's in a peer's, and
// otherwise the names of the loopback addresses and of the container's own.
func (c *Container) hosts(f *facts, n *network.Sandbox) ([]byte, error) {
	var b bytes.Buffer
	text, err := c.networkFile(hostsFile)
	if err != nil {
		return nil, err
	}
	b.Write(text)
	if text == nil {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
		if own := c.ownHosts(f, n); len(own) > 0 {
			b.Write(own)
		} else {
			b.WriteString("127.0.0.1\t" + c.hostnames(f) + "\n")
		}
	}
	for _, entry := range c.Settings.AddHosts {
		name, addr, err := parseHost(entry)
		if err != nil {
			return nil, err
		}
		addrs := []netip.Addr{addr}
		if !addr.IsValid() {
			if addrs, err = c.gateways(n); err != nil {
				return nil, fmt.Errorf("host %q: %w", entry, err)
			}
		}
		for _, a := range addrs {
			b.WriteString(a.String() + "\t" + name + "\n")
		}
	}
	if n != nil {
		links, err := c.linkHosts(n)
		if err != nil {
			return nil, err
		}
		b.WriteString(links)
	}
	return b.Bytes(), nil
}

// hostnames are the container's own names for itself: with a domain, and bare.
func (c *Container) hostnames(f *facts) string {
	name := c.hostname(f)
	if c.Settings.Domainname != "" {
		name += "." + c.Settings.Domainname
	}
	if bare, _, ok := strings.Cut(name, "."); ok && bare != "" {
		name += " " + bare
	}
	return name
}

// ownHosts are lines for the container's addresses.
func (c *Container) ownHosts(f *facts, n *network.Sandbox) (lines []byte) {
	if n == nil {
		return nil
	}
	for _, e := range n.Endpoints {
		for _, a := range e.Addresses {
			lines = fmt.Appendf(lines, "%s\t%s\n", a.Addr(), c.hostnames(f))
		}
	}
	return lines
}

// gateways are the addresses by which the container reaches its host. Before it
// has networks there are none.
func (c *Container) gateways(n *network.Sandbox) ([]netip.Addr, error) {
	if c.Settings.Network == "host" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	if n == nil && len(c.Settings.Networks) > 0 {
		return nil, nil
	}
	if n != nil {
		for _, e := range n.Endpoints {
			if len(e.Gateways) > 0 {
				return e.Gateways, nil
			}
		}
	}
	return nil, errors.New("the container is on no network that has a gateway")
}

// maxEtc bounds a file of the host's or a peer's /etc.
const maxEtc = 1 << 20

// networkFile reads the file of whoever's network the container uses; nil when
// it has one of its own. A peer's is the generated one, which the peer may have
// written to: it is only copied.
func (c *Container) networkFile(name string) ([]byte, error) {
	path := filepath.Join("/etc", name)
	if peer, ok := strings.CutPrefix(c.Settings.Network, "container:"); ok {
		p, err := c.engine.Find(peer)
		if err != nil {
			return nil, err
		}
		path = p.runFile(name)
	} else if c.Settings.Network != "host" {
		return nil, nil
	}
	return readEtc(path)
}

// readEtc reads a file of the host's or a peer's /etc, with its last line ended;
// one that is not there is empty.
func readEtc(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEtc))
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return text, err
}

// hostGateway stands for the host's address in --add-host.
const hostGateway = "host-gateway"

// parseHost reads one --add-host, NAME:IP or NAME=IP. The address of
// host-gateway is invalid: it is known at the start.
func parseHost(entry string) (name string, addr netip.Addr, err error) {
	i := strings.IndexAny(entry, ":=")
	word := ""
	if i > 0 {
		name, word = entry[:i], strings.Trim(entry[i+1:], "[]")
	}
	if word != hostGateway {
		addr, err = parseAddr(word)
	}
	if err != nil || strings.ContainsAny(name, " \t\n\x00#") {
		return "", addr, fmt.Errorf("invalid host %q: want NAME:ADDRESS", entry)
	}
	return name, addr, nil
}
