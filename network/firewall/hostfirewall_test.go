package firewall

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"loper.run/internal/flock"
	"loper.run/network"
)

// published is a lab whose container runs and has published its port as 8080.
func published(t *testing.T, change func(*network.Sandbox)) (*lab, *Firewall, *network.Sandbox) {
	t.Helper()
	l := newLab(t)
	dir := t.TempDir()
	f := &Firewall{Store: &network.Store{Root: filepath.Join(dir, "root"), RunRoot: filepath.Join(dir, "run")}, Host: l.host.File()}
	sb := &network.Sandbox{
		Container: strings.Repeat("ab", 32),
		Endpoints: []network.Endpoint{{
			Network: "net", NetworkID: strings.Repeat("cd", 32), Driver: network.Bridge, Link: "loper0", HostInterface: "lv0", Interface: "eth0", MAC: "02:00:00:00:00:09",
			Addresses: []netip.Prefix{netip.MustParsePrefix(inside4 + "/24"), netip.MustParsePrefix(inside6 + "/64")},
			Gateways:  []netip.Addr{netip.MustParseAddr("10.89.0.1"), netip.MustParseAddr("fd00:89::1")},
		}},
		Ports: []network.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}, {HostPort: 8080, ContainerPort: 80, Protocol: "udp"}},
	}
	if change != nil {
		change(sb)
	}
	running := filepath.Join(f.Store.RunRoot, sb.Container)
	l.ok(os.MkdirAll(running, 0o700))
	l.ok(os.WriteFile(filepath.Join(running, monitorLock), nil, 0o600))
	lock, err := os.Open(filepath.Join(running, monitorLock))
	l.ok(err)
	l.ok(flock.Lock(lock, unix.LOCK_EX))
	t.Cleanup(func() { lock.Close() })
	l.ok(sb.Write(running))
	Seal(t, l.host, sb)
	l.ok(f.Attach(sb))
	return l, f, sb
}

// settle is what a command does before it starts a container.
func (l *lab) settle(f *Firewall, sb *network.Sandbox) HostRules {
	l.t.Helper()
	s, err := f.begin()
	l.ok(err)
	defer s.end()
	found, err := s.accommodate(sb)
	l.ok(err)
	return found
}

// Without a firewall of the host's, published ports are open, and the container
// sees who comes.
func TestNoFirewall(t *testing.T) {
	l, f, sb := published(t, nil)
	l.expect("without rules", all(open))
	if found := l.settle(f, sb); len(found.Input) > 0 || found.By != "" {
		t.Errorf("found %+v where there is nothing", found)
	}
}

// A port that ufw would refuse on INPUT is refused through a container too, and
// one that it lets in is open at once.
func TestUFW(t *testing.T) {
	l, f, sb := published(t, nil)
	l.rules("ufw.rules")
	l.rules("ufw.rules6")
	found := l.settle(f, sb)
	if len(found.Input) == 0 || found.By != "ufw" || len(found.Closed) > 0 {
		t.Errorf("found %+v", found)
	}
	l.expect("ufw", all(silent))
	l.run("", "iptables-nft", "-A", "ufw-user-input", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
	l.run("", "ip6tables-nft", "-A", "ufw6-user-input", "-p", "udp", "--dport", "8080", "-j", "ACCEPT")
	l.expect("ufw allow 8080/tcp for IPv4, 8080/udp for IPv6", map[string]outcome{"tcp4": open, "udp4": silent, "tcp6": silent, "udp6": open})
	l.run("", "iptables-nft", "-I", "ufw-user-input", "-s", client4, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
	l.expect("ufw reject from the client", map[string]outcome{"tcp4": refused, "udp6": open})
	rules := l.run("", "iptables-nft", "-S", "FORWARD")
	for _, want := range []string{"-A FORWARD -i loper0 ", "-A FORWARD -o loper0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT "} {
		if strings.Count(rules, want) != 1 {
			t.Errorf("iptables lists\n%swith %q not once", rules, want)
		}
	}
	l.settle(f, sb)
	if again := l.run("", "iptables-nft", "-S", "FORWARD"); again != rules {
		t.Errorf("a second look made\n%sof\n%s", again, rules)
	}
	// From inside to outside nothing stands in the way.
	l.client.Do(func() { l.serve(client4 + ":7") })
	l.client.Do(func() { l.serve("[" + client6 + "]:7") })
	for _, to := range []string{client4 + ":7", "[" + client6 + "]:7"} {
		for _, kind := range []string{"tcp", "udp"} {
			if got, _, took := l.outcome(l.container, kind, to); got != open {
				t.Errorf("%s from the container to %s is %s after %v", kind, to, got, took)
			}
		}
	}
}

// What stands in a firewall's way out of the host, too.
func TestOutputDrop(t *testing.T) {
	l, f, sb := published(t, nil)
	l.nft(`table inet filter { chain output { type filter hook output priority filter; policy drop
		ct state established,related accept
		oifname { lo, loper0 } accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
	}
	}`)
	l.expect("before anything is done", all(silent))
	l.settle(f, sb)
	l.expect("with the gate let through", all(open))
}

// firewalld refuses with its own answer, and checks with IPv6 where packets come
// from.
func TestFirewalld(t *testing.T) {
	l, f, sb := published(t, nil)
	l.rules("firewalld.nft")
	found := l.settle(f, sb)
	if len(found.Input) == 0 || found.By != "firewalld" {
		t.Errorf("found %+v", found)
	}
	l.expect("firewalld", all(asHost))
	l.expect("firewalld", map[string]outcome{"tcp4": rejected, "udp4": rejected, "udp6": rejected})
	l.nft("add rule inet firewalld filter_IN_public_allow tcp dport 8080 accept")
	l.expect("--add-port=8080/tcp", map[string]outcome{"tcp4": open, "tcp6": open, "udp4": rejected, "udp6": rejected})
	l.nft("add rule inet firewalld filter_IN_public_allow udp dport 8080 accept")
	l.expect("--add-port=8080/udp", all(open))
	l.nft("insert rule inet firewalld filter_IN_public_deny ip saddr " + client4 + " drop")
	l.expect("a rich rule against the client", map[string]outcome{"tcp4": silent, "tcp6": open})
	// A reload makes the table anew, without what was opened at run time
	// (CVE-2025-54388, CVE-2025-54410).
	l.nft("delete table inet firewalld")
	l.rules("firewalld.nft")
	l.expect("after a reload", all(asHost))
	if got, _, _ := l.outcome(l.client, "tcp", inside4+":80"); got == open {
		t.Error("after a reload the container itself is open to the network")
	}
}

// Everything that can be flushed is closed afterwards, or as the host is itself,
// and comes back.
func TestFlush(t *testing.T) {
	l, f, sb := published(t, nil)
	l.ok(l.client.IP("route", "add", "10.89.0.0/24", "via", host4))
	l.ok(l.client.IP("-6", "route", "add", "fd00:89::/64", "via", host6))
	direct := func(what string) {
		t.Helper()
		for _, to := range []string{inside4 + ":80", "[" + inside6 + "]:80"} {
			if got, _, _ := l.outcome(l.client, "tcp", to); got == open {
				t.Errorf("%s: the container is open to the network at %s", what, to)
			}
		}
	}
	direct("published")
	l.rules("ufw.rules")
	l.rules("ufw.rules6")
	l.settle(f, sb)
	direct("with ufw")
	table := TableName(f.Store.Root)
	l.nft("delete table ip " + table + "\ndelete table ip6 " + table)
	direct("with ufw, without our tables")
	l.expect("without our tables", all(silent))
	l.run("", "iptables-nft", "-A", "ufw-user-input", "-j", "ACCEPT")
	l.run("", "ip6tables-nft", "-A", "ufw6-user-input", "-j", "ACCEPT")
	l.expect("ufw lets all in, and our tables are gone", all(refused))
	direct("ufw lets all in, and our tables are gone")
	l.ok(f.Repair())
	l.expect("repaired", all(open))
	l.nft("flush ruleset")
	l.expect("after flush ruleset", all(refused))
	l.ok(f.Repair())
	l.expect("repaired again", all(open))
	l.ok(l.host.IP("link", "del", gateOf(table).in))
	l.expect("without the gate", all(silent))
	l.ok(f.Repair())
	l.expect("with a new gate", all(open))
	l.ok(l.host.IP("link", "del", gateOf(table).in))
	l.ok(f.Attach(sb))
	l.expect("attached again", all(open))
	// What a killed command left of a gate, and what others take of one.
	l.ok(l.host.IP("link", "set", gateOf(table).out, "down"))
	l.expect("with a gate that was not opened", all(silent))
	l.ok(f.Attach(sb))
	l.expect("attached again", all(open))
	l.ok(l.host.IP("rule", "del", "priority", fmt.Sprint(rulePriority)))
	l.ok(l.host.IP("-6", "rule", "del", "priority", fmt.Sprint(rulePriority)))
	l.ok(l.host.IP("address", "flush", "dev", gateOf(table).in))
	l.ok(l.host.IP("link", "set", gateOf(table).in, "down"))
	l.ok(f.Repair())
	l.nft("table inet pre { chain pre { type filter hook prerouting priority raw; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; fib saddr . mark . iif oif missing drop; }; }")
	l.expect("repaired once more", all(open))
}

// --publish-open asks nobody.
func TestPublishOpen(t *testing.T) {
	l, f, sb := published(t, func(sb *network.Sandbox) { sb.PublishOpen = true })
	l.rules("firewalld.nft")
	l.settle(f, sb)
	l.expect("published past the firewall", all(open))
	l.ok(f.Detach(sb))
	l.expect("detached", all(asHost))
	// In a namespace of an ordinary user's there is nobody to ask.
	f.Alone, sb.PublishOpen = true, false
	l.ok(f.Attach(sb))
	l.expect("in a namespace of our own", all(open))
	l.ok(f.Repair())
	l.expect("and repaired", all(open))
	if l.host.IP("link", "show", gateOf(TableName(f.Store.Root)).out) == nil {
		t.Error("there is a gate that nobody needs")
	}
}

// With the last network everything goes, also out of others' chains.
func TestRemoveLast(t *testing.T) {
	l, f, sb := published(t, nil)
	l.rules("ufw.rules")
	before := l.run("", "nft", "-s", "list", "table", "ip", "filter")
	l.settle(f, sb)
	if l.run("", "nft", "-s", "list", "table", "ip", "filter") == before {
		t.Error("nothing was done")
	}
	l.ok(f.Detach(sb))
	l.ok(f.RemoveNetwork(&network.Network{Driver: network.Bridge, Interface: "loper0"}))
	if after := l.run("", "nft", "-s", "list", "table", "ip", "filter"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
	for what, args := range map[string][]string{
		"interfaces": {"ip", "-o", "link"}, "rules": {"ip", "rule"}, "IPv6 rules": {"ip", "-6", "rule"},
		"tables": {"nft", "list", "tables"}, "routes": {"ip", "route", "show", "table", "all"},
	} {
		if out := l.run("", args...); strings.Contains(out, "lg") || strings.Contains(out, "fwmark") || strings.Contains(out, "loper-") {
			t.Errorf("%s left behind:\n%s", what, out)
		}
	}
}
