package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"loper.run/test/env"
)

const (
	trafficPort   = "9000"
	publishedPort = "9001"
)

// server starts traffic's server in a namespace.
func (b *bench) server(in *env.Netns) (stop func(), err error) {
	cmd := exec.Command(filepath.Join(b.dir, "traffic"), "serve", ":"+trafficPort)
	in.Do(func() { err = cmd.Start() })
	return func() {
		cmd.Process.Kill()
		cmd.Wait()
	}, err
}

// trafficFrom is the program traffic in a namespace.
func (b *bench) trafficFrom(n *env.Netns) contender {
	return contender{argv: []string{filepath.Join(b.dir, "traffic")}, in: n}
}

// paths starts two containers, one of which serves, and a server on the host.
func (b *bench) paths(e *netEngine) (*paths, error) {
	for _, args := range [][]string{
		{"-d", "--name", "server", "-p", publishedPort + ":" + trafficPort, e.image, "/traffic", "serve", ":" + trafficPort},
		{"-d", "--name", "client", e.image, "sleep", "100000"},
	} {
		if _, err := e.must(e.run(args...)); err != nil {
			return nil, err
		}
	}
	address, err := e.must(e.command("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "server"))
	if err != nil {
		return nil, err
	}
	p := &paths{name: e.name, to: [...]string{address + ":" + trafficPort, hostAddress + ":" + trafficPort, hostAddress + ":" + publishedPort}}
	inside := e.command("exec", "client", "/traffic")
	p.ways = [...]contender{inside, inside, b.trafficFrom(e.outside)}
	p.stop, err = b.server(e.host)
	return p, err
}

// plain is what no engine can be faster than: two namespaces on a bridge, and the rules for one port.
func (b *bench) plain() (*paths, error) {
	host, outside, err := world()
	if err != nil {
		return nil, err
	}
	p := &paths{name: "plain"}
	var ends []*env.Netns
	p.stop = func() {
		for _, n := range append(ends, host, outside) {
			n.Close()
		}
	}
	if err := host.IP("link", "add", "br0", "type", "bridge"); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"link", "set", "br0", "up"}, {"address", "add", "10.11.12.1/24", "dev", "br0"}} {
		if err := host.IP(args...); err != nil {
			return nil, err
		}
	}
	for i := range 2 {
		n, err := env.NewNetns()
		if err != nil {
			return nil, err
		}
		ends = append(ends, n)
		name := fmt.Sprintf("end%d", i)
		if err := env.Wire(host, name, nil, n, "eth0", []string{fmt.Sprintf("10.11.12.%d/24", i+2)}); err != nil {
			return nil, err
		}
		if err := host.IP("link", "set", name, "master", "br0"); err != nil {
			return nil, err
		}
		if err := n.IP("route", "add", "default", "via", "10.11.12.1"); err != nil {
			return nil, err
		}
	}
	rules := `table ip plain {
		chain in { type nat hook prerouting priority dstnat; fib daddr type local tcp dport ` + publishedPort + ` dnat to 10.11.12.2:` + trafficPort + `; }
		chain out { type nat hook postrouting priority srcnat; ip saddr 10.11.12.0/24 oifname != "br0" masquerade; }
	}`
	host.Do(func() {
		cmd := exec.Command("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; exec nft -f -")
		cmd.Stdin = strings.NewReader(rules)
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("nft: %w: %s", err, out)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, n := range []*env.Netns{ends[0], host} {
		stop, err := b.server(n)
		if err != nil {
			return nil, err
		}
		before := p.stop
		p.stop = func() { stop(); before() }
	}
	time.Sleep(100 * time.Millisecond)
	p.to = [...]string{"10.11.12.2:" + trafficPort, hostAddress + ":" + trafficPort, hostAddress + ":" + publishedPort}
	p.ways = [...]contender{b.trafficFrom(ends[1]), b.trafficFrom(ends[1]), b.trafficFrom(outside)}
	return p, nil
}
