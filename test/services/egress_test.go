package services_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"loper.run/test/env"
)

// What the names stand for; everything but the first two is on a machine that no rule speaks of.
const (
	unlisted4, unlisted6 = "198.51.100.3", "2001:db8:51::3"
	metadata             = "169.254.169.254"
	resolver             = "198.51.100.53"
)

var zone = map[string][]string{
	"good.example.":        {outside4, outside6},
	"a.wild.example.":      {outside4},
	"wild.example.":        {unlisted4},
	"bad.example.":         {unlisted4, unlisted6},
	"rebind.wild.example.": {metadata, "127.0.0.1"},
}

// nameserver answers from the zone, and says which names it was asked for.
func nameserver(t *testing.T, n *env.Netns, asked chan<- string) {
	t.Helper()
	var u net.PacketConn
	var err error
	n.Do(func() { u, err = net.ListenPacket("udp", resolver+":53") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			size, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:size]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			name := strings.ToLower(q.Name.String())
			select {
			case asked <- name:
			default:
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			addresses, ok := zone[name]
			if !ok {
				m.RCode = dnsmessage.RCodeNameError
			}
			for _, text := range addresses {
				a := netip.MustParseAddr(text)
				h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 5}
				switch {
				case q.Type == dnsmessage.TypeA && a.Is4():
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
				case q.Type == dnsmessage.TypeAAAA && a.Is6():
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
				}
			}
			if answer, err := m.Pack(); err == nil {
				u.WriteTo(answer, from)
			}
		}
	}()
}

// smallImage is busybox, as a file to import.
func smallImage(t *testing.T) string {
	t.Helper()
	files, err := env.BusyboxFiles()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	path := filepath.Join(dir, "busybox.tar")
	if err := os.WriteFile(path, env.Tar(files...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEgress(t *testing.T)       { testEgress(t, nil) }
func TestEgressAsUser(t *testing.T) { testEgress(t, env.Ordinary(t, true)) }

// A container that may reach only the names it was given tries the other ways that there are.
func testEgress(t *testing.T, user *env.User) {
	host, outside := env.TestNetns(t), env.TestNetns(t)
	env.Need(t, "nft")
	if user != nil {
		env.Tun(t)
	}
	err := env.Wire(host, "eth0", []string{host4 + "/24", host6 + "/64", "169.254.1.1/16"}, outside, "eth0",
		[]string{outside4 + "/24", resolver + "/24", outside6 + "/64", unlisted4 + "/24", unlisted6 + "/64", metadata + "/16"})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"route", "add", "default", "via", outside4}, {"-6", "route", "add", "default", "via", outside6}} {
		if err := host.IP(args...); err != nil {
			t.Fatal(err)
		}
	}
	listen(t, outside)
	asked := make(chan string, 1000)
	nameserver(t, outside, asked)
	e := newEngine(t, host, user)
	e.importFrom(smallImage(t))
	const greeting = "hello from outside"
	run := func(name string, options ...string) {
		t.Helper()
		e.must(append(append([]string{"run", "-d", "--name", name, "--network", "bridge", "--dns", resolver}, options...), image, "sleep", "100000")...)
	}
	run("free")
	run("peer")
	run("box", "--egress", "good.example,*.wild.example:7", "--egress-log")
	run("shut", "--egress", "none")
	run("pair", "--egress", "peer")
	e.must("exec", "-d", "peer", "sh", "-c", "while :; do echo "+greeting+" | nc -l -p 7; done")
	e.eventually(greeting, "free", "timeout", "4", "nc", "-w", "2", "peer", "7")

	allowed := func(container string, command ...string) {
		t.Helper()
		if out, err := e.try(append([]string{"exec", container}, command...)...); !strings.Contains(out, greeting) { // whatever pasta of 2023 makes of the connection's end
			t.Errorf("%s: %q should be allowed: %v: %s", container, command, err, out)
		}
	}
	refused := func(container string, command ...string) {
		t.Helper()
		if out, err := e.try(append([]string{"exec", container}, command...)...); err == nil || strings.Contains(out, greeting) {
			t.Errorf("%s: %q should be refused: %v: %s", container, command, err, out)
		}
	}
	for _, target := range []string{outside4, outside6, unlisted4, unlisted6, "good.example", "bad.example"} {
		allowed("free", "timeout", "4", "nc", "-w", "2", target, "7")
		refused("shut", "timeout", "4", "nc", "-w", "2", target, "7")
	}
	refused("box", "timeout", "4", "nc", "-w", "2", outside4, "7") // not before the name was asked for
	allowed("box", "timeout", "4", "nc", "-w", "2", "good.example", "7")
	allowed("box", "timeout", "4", "nc", "-w", "2", "GOOD.example", "7")
	allowed("box", "timeout", "4", "nc", "-w", "2", outside6, "7")
	allowed("box", "timeout", "4", "nc", "-w", "2", "a.wild.example", "7")
	for len(asked) > 0 {
		<-asked
	}
	for _, command := range [][]string{
		{"timeout", "4", "nc", "-w", "2", unlisted4, "7"}, {"timeout", "4", "nc", "-w", "2", unlisted6, "7"}, // raw addresses
		{"timeout", "4", "nc", "-w", "2", "bad.example", "7"}, {"nslookup", "bad.example"}, {"nslookup", "secret.in.the.name.bad.example"}, // other names
		{"timeout", "4", "nc", "-w", "2", "wild.example", "7"}, {"timeout", "4", "nc", "-w", "2", "good.example.bad.example", "7"},
		{"nslookup", "bad.example", resolver}, {"nslookup", "bad.example", unlisted4}, // another resolver
		{"timeout", "4", "nc", "-w", "2", unlisted4, "443"}, {"timeout", "4", "nc", "-w", "2", unlisted4, "853"}, // DNS over HTTPS and TLS
		{"timeout", "4", "nc", "-w", "2", "rebind.wild.example", "7"}, {"timeout", "4", "nc", "-w", "2", metadata, "7"}, // a name that stands for what is near
		{"ping", "-c", "1", "-W", "1", unlisted4}, {"ping", "-6", "-c", "1", "-W", "1", unlisted6},
		{"timeout", "4", "nc", "-w", "2", host4, "22"}, {"timeout", "4", "nc", "-w", "2", "peer", "7"},
		{"nft", "flush", "ruleset"}, {"ip", "link", "set", "eth0", "down"}, {"ip", "addr", "add", "198.51.100.9/24", "dev", "eth0"},
	} {
		refused("box", command...)
	}
	for len(asked) > 0 {
		if name := <-asked; strings.Contains(name, "bad.example") {
			t.Errorf("the name server outside was asked for %s", name)
		}
	}
	allowed("pair", "timeout", "4", "nc", "-w", "2", "peer", "7")
	refused("pair", "timeout", "4", "nc", "-w", "2", "good.example", "7")

	told := e.must("logs", "box")
	for _, want := range []string{"egress refused: tcp " + unlisted4 + ":7", "egress refused: tcp [" + unlisted6 + "]:7", "egress refused: name bad.example"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in the log:\n%s", want, told)
		}
	}
	if told := e.must("logs", "shut"); told != "" {
		t.Errorf("what nobody asked to see: %s", told)
	}
	for _, options := range [][]string{
		{"--cap-add", "NET_ADMIN"}, {"--cap-add", "net_raw"}, {"--cap-add", "ALL"}, {"--privileged"}, {"--network", "host"}, {"--network", "container:free"},
	} {
		if out, err := e.try(append(append([]string{"run", "--rm", "--egress", "good.example"}, options...), image, "true")...); err == nil || !strings.Contains(out, "egress") || strings.Count(out, "\n") > 1 {
			t.Errorf("%q with --egress: %v: %s", options, err, out)
		}
	}
	for _, joins := range [][]string{{"--network", "container:box"}, {"--network", "none", "--pid", "container:box"}} {
		if out, err := e.try(append(append([]string{"run", "--rm", "--cap-add", "NET_ADMIN"}, joins...), image, "true")...); err == nil || !strings.Contains(out, "egress") {
			t.Errorf("rights over the network of a container with rules, by %q: %v: %s", joins, err, out)
		}
	}
	// Whose first process has left the network with the rules gets no interface where it is.
	e.must("network", "create", "late")
	e.must("run", "-d", "--name", "left", "--network", "bridge", "--egress", "none", "--cap-add", "SYS_ADMIN", image, "unshare", "-n", "sleep", "1000")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := e.try("network", "connect", "late", "left")
		if err != nil && strings.Contains(out, "another network namespace") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a container that left its rules is connected: %v: %s", err, out)
		}
		if err == nil {
			e.must("network", "disconnect", "late", "left")
		}
	}
	if out, err := e.try("run", "--rm", "--network", "bridge", "--egress", "300.1.2.3", image, "true"); err == nil || !strings.Contains(out, "300.1.2.3") {
		t.Errorf("a wrong rule: %v: %s", err, out)
	}
}
