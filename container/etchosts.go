package container

import (
	"bytes"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"loper.run/network"
)

// addHosts adds the container's addresses in a network, and linked containers,
// to its /etc/hosts.
func (c *Container) addHosts(n *network.Sandbox, e *network.Endpoint) error {
	one := &network.Sandbox{Endpoints: []network.Endpoint{*e}}
	lines := c.ownHosts(&facts{}, one)
	links, err := c.linkHosts(n)
	if err != nil {
		return err
	}
	return c.editHosts(func(text []byte) []byte {
		for line := range strings.Lines(links) {
			if !bytes.Contains(text, []byte(line)) {
				lines = append(lines, line...)
			}
		}
		return append(text, lines...)
	})
}

// dropHosts removes the container's addresses in a network from its /etc/hosts.
func (c *Container) dropHosts(e *network.Endpoint) error {
	return c.editHosts(func(text []byte) []byte {
		var kept []byte
		for line := range bytes.Lines(text) {
			drop := false
			for _, a := range e.Addresses {
				drop = drop || bytes.HasPrefix(line, []byte(a.Addr().String()+"\t"))
			}
			if !drop {
				kept = append(kept, line...)
			}
		}
		return kept
	})
}

// editHosts changes the hosts file of a running container, which may be writing
// to it too. It is mounted there, so it must stay the same file.
func (c *Container) editHosts(change func([]byte) []byte) error {
	f, err := os.OpenFile(c.runFile(hostsFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEtc))
	if err != nil || len(text) == maxEtc {
		return err // too long to be told from what the container wrote
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = change(text)
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}
