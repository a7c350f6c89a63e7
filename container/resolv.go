package container

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"loper.run/network"
)

// resolver is where the monitor answers in a container's own networks.
const resolver = "127.0.0.11"

// resolv is the host's or the peer's resolv.conf in their networks and empty
// without one, unless the caller names servers. In networks of the container's
// own its monitor answers, or, where they have no names, who is named in the
// host's file.
func (c *Container) resolv(n *network.Sandbox) ([]byte, error) {
	s := &c.Settings
	for _, server := range s.DNS {
		if _, err := parseServer(server); err != nil {
			return nil, err
		}
	}
	for _, word := range append(s.DNSSearch[:len(s.DNSSearch):len(s.DNSSearch)], s.DNSOption...) {
		if word == "" || strings.ContainsAny(word, " \t\n\x00") {
			return nil, fmt.Errorf("invalid resolver setting %q", word)
		}
	}
	text, err := c.networkFile(resolvFile)
	if err != nil {
		return nil, err
	}
	servers, options := s.DNS, s.DNSOption
	if n != nil {
		if text, err = readEtc("/etc/" + resolvFile); err != nil {
			return nil, err
		}
		text = withoutServers(text, usable(n))
		if named(n) {
			servers = []string{resolver}
			if len(options) == 0 {
				options = ownOptions(text)
			}
		}
	}
	var b bytes.Buffer
	replaced := map[string]bool{"nameserver": len(servers) > 0, "search": len(s.DNSSearch) > 0, "domain": len(s.DNSSearch) > 0, "options": len(options) > 0}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || !replaced[string(fields[0])] {
			b.Write(line)
		}
	}
	for _, server := range servers {
		b.WriteString("nameserver " + server + "\n")
	}
	if len(s.DNSSearch) > 0 && !(len(s.DNSSearch) == 1 && s.DNSSearch[0] == ".") {
		b.WriteString("search " + strings.Join(s.DNSSearch, " ") + "\n")
	}
	if len(options) > 0 {
		b.WriteString("options " + strings.Join(options, " ") + "\n")
	}
	return b.Bytes(), nil
}

// parseServer reads one --dns.
func parseServer(word string) (netip.Addr, error) {
	a, err := parseAddr(word)
	if err != nil {
		return a, fmt.Errorf("invalid name server %q: not an IP address", word)
	}
	return a, nil
}

// parseAddr reads an address for a line of a file: netip takes all that there
// is, lines too, for the name of an interface.
func parseAddr(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	if err == nil && a.Zone() != "" {
		err = network.CheckInterface(a.Zone())
	}
	return a, err
}

// named reports whether a network of the container resolves names, or one may
// that it is connected to later.
func named(n *network.Sandbox) bool {
	if len(n.Endpoints) == 0 {
		return true
	}
	for _, e := range n.Endpoints {
		if !e.NoDNS {
			return true
		}
	}
	return false
}

// usable says which of the host's name servers the container can reach.
func usable(n *network.Sandbox) func(netip.Addr) bool {
	outside := false
	for _, e := range n.Endpoints {
		outside = outside || !e.Internal
	}
	return func(a netip.Addr) bool { return outside && !a.IsLoopback() && a.Zone() == "" }
}

// withoutServers is a resolv.conf with its settings, and those of its servers
// that are usable; what people wrote about the host is left out.
func withoutServers(text []byte, usable func(netip.Addr) bool) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch string(fields[0]) {
		case "search", "domain", "options":
			b.Write(line)
		case "nameserver":
			if a, err := netip.ParseAddr(string(fields[1])); err == nil && usable(a) {
				b.Write(line)
			}
		}
	}
	return b.Bytes()
}

// ownOptions are the host's, and that names of one word are asked for as they
// are: most are those of containers.
func ownOptions(text []byte) []string {
	options := []string{"ndots:0"}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "options" {
			continue
		}
		for _, word := range fields[1:] {
			switch {
			case bytes.HasPrefix(word, []byte("ndots:")):
				options[0] = string(word)
			default:
				options = append(options, string(word))
			}
		}
	}
	return options
}
