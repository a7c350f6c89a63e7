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
)

// The generated files of /etc.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// writeEtc writes the files for /etc, owned by the container's root so that it
// may change them. They lie in RunDir, which is usually memory, as every start
// makes them anew.
func (c *Container) writeEtc(f *facts) error {
	hosts, err := c.hosts(f)
	if err != nil {
		return err
	}
	resolv, err := c.resolv()
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
// otherwise the names of the loopback addresses.
func (c *Container) hosts(f *facts) ([]byte, error) {
	var b bytes.Buffer
	text, err := c.networkFile(hostsFile)
	if err != nil {
		return nil, err
	}
	b.Write(text)
	if text == nil {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n")
		name := c.hostname(f)
		if c.Settings.Domainname != "" {
			name += "." + c.Settings.Domainname + " " + name
		}
		b.WriteString("127.0.0.1\t" + name + "\n")
	}
	for _, entry := range c.Settings.AddHosts {
		name, addr, err := parseHost(entry)
		if err != nil {
			return nil, err
		}
		b.WriteString(addr + "\t" + name + "\n")
	}
	return b.Bytes(), nil
}

// resolv is the host's or the peer's file in their networks and empty without
// one, unless the caller names servers.
func (c *Container) resolv() ([]byte, error) {
	s := &c.Settings
	text, err := c.networkFile(resolvFile)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	replaced := map[string]bool{"nameserver": len(s.DNS) > 0, "search": len(s.DNSSearch) > 0, "domain": len(s.DNSSearch) > 0, "options": len(s.DNSOption) > 0}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || !replaced[string(fields[0])] {
			b.Write(line)
		}
	}
	for _, server := range s.DNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return nil, fmt.Errorf("invalid name server %q: not an IP address", server)
		}
		b.WriteString("nameserver " + server + "\n")
	}
	for _, word := range append(s.DNSSearch[:len(s.DNSSearch):len(s.DNSSearch)], s.DNSOption...) {
		if word == "" || strings.ContainsAny(word, " \t\n\x00") {
			return nil, fmt.Errorf("invalid resolver setting %q", word)
		}
	}
	if len(s.DNSSearch) > 0 && !(len(s.DNSSearch) == 1 && s.DNSSearch[0] == ".") {
		b.WriteString("search " + strings.Join(s.DNSSearch, " ") + "\n")
	}
	if len(s.DNSOption) > 0 {
		b.WriteString("options " + strings.Join(s.DNSOption, " ") + "\n")
	}
	return b.Bytes(), nil
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

// parseHost reads one --add-host, NAME:IP or NAME=IP.
func parseHost(entry string) (name, addr string, err error) {
	i := strings.IndexAny(entry, ":=")
	if i > 0 {
		name, addr = entry[:i], strings.Trim(entry[i+1:], "[]")
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil || strings.ContainsAny(name, " \t\n\x00#") {
		return "", "", fmt.Errorf("invalid host %q: want NAME:ADDRESS", entry)
	}
	return name, ip.String(), nil
}
