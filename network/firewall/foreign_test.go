package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"loper.run/internal/nft"
	"loper.run/network"
)

// People are told once, and only of ports that they haven't opened.
func TestNotes(t *testing.T) {
	for _, c := range []struct{ rules, by, open, one, all string }{
		{"ufw.rules", "ufw", "add rule ip filter ufw-user-input tcp dport 8080 accept", "ufw allow 8080/udp", "ufw allow 8080/tcp"},
		{"firewalld.nft", "firewalld", "add rule inet firewalld filter_IN_public_allow tcp dport 8080 ct state new accept",
			"firewall-cmd --permanent --add-port=8080/udp && firewall-cmd --reload", "firewall-cmd --permanent --add-port=8080/tcp && firewall-cmd --reload"},
	} {
		t.Run(c.by, func(t *testing.T) {
			l, f, sb := published(t, nil)
			ensure := func(want ...string) {
				t.Helper()
				notes, err := f.Ensure(sb)
				l.ok(err)
				if strings.Join(notes, "\n") != strings.Join(want, "\n") {
					t.Errorf("told %q, want %q", notes, want)
				}
			}
			ensure()
			l.rules(c.rules)
			l.nft(c.open)
			say := "the host's firewall (" + c.by + ") decides about published ports and has no rule for "
			ensure(say + "8080/udp; open with: " + c.one + ", or publish with --publish-open")
			ensure()
			sb.Ports = append(sb.Ports, network.Port{HostPort: 8081, ContainerPort: 80, Protocol: "tcp"},
				network.Port{Host: netip.MustParseAddr("127.0.0.1"), HostPort: 8082, ContainerPort: 80, Protocol: "tcp"})
			ensure(say + "8081/tcp; open with: " + strings.Replace(c.all, "8080", "8081", 1) + ", or publish with --publish-open")
			sb.PublishOpen = true
			sb.Ports[0].HostPort = 8083
			ensure()
		})
	}
}

// A table that only its owner changes is left alone, and said to be.
func TestOwned(t *testing.T) {
	l, f, sb := published(t, nil)
	owner, err := nft.OpenIn(l.host.File())
	l.ok(err)
	defer owner.Close()
	table := nft.Table{Family: nft.Inet, Name: "firewalld", Owned: true}
	var b nft.Batch
	b.AddTable(table)
	b.AddChain(nft.Chain{Table: table, Name: "filter_FORWARD", Type: nft.Filter, Hook: nft.Forward, Priority: 10})
	b.AddRule(nft.Chain{Table: table, Name: "filter_FORWARD"}, "", nft.Reject(nft.Inet))
	b.AddChain(nft.Chain{Table: table, Name: "filter_INPUT", Type: nft.Filter, Hook: nft.Input, Priority: 10, Drop: true})
	l.ok(owner.Commit(&b))
	notes, err := f.Ensure(sb)
	l.ok(err)
	if len(notes) != 2 || !strings.HasSuffix(notes[1], "firewall-cmd --permanent --zone=trusted --add-interface=loper0 && firewall-cmd --reload") {
		t.Errorf("told %q", notes)
	}
}

// Chains that would not stop us are not touched.
func TestLeftAlone(t *testing.T) {
	l, f, sb := published(t, nil)
	l.nft(`table inet mine {
		chain forward { type filter hook forward priority 0; policy accept
			iifname eth1 drop
			ct state invalid drop
			jump more
		}
		chain more {
			return
			drop
		}
		chain every { type filter hook forward priority 1; policy drop
			accept
		}
		chain out { type filter hook output priority 0; policy accept
			ip daddr 192.0.2.99 reject
		}
		chain pre { type filter hook prerouting priority 0; policy accept
			tcp dport 99 drop
		}
		chain in { type filter hook input priority 0; policy accept
			tcp dport 99 drop
		}
	}`)
	before := l.run("", "nft", "-a", "list", "table", "inet", "mine")
	if found := l.settle(f, sb); len(found.Input) > 0 {
		t.Errorf("found %+v", found)
	}
	if after := l.run("", "nft", "-a", "list", "table", "inet", "mine"); after != before {
		t.Errorf("changed\n%sto\n%s", before, after)
	}
}

// Hand-written rules check at prerouting where packets come from.
func TestReversePath(t *testing.T) {
	l, f, sb := published(t, nil)
	l.nft(`table inet mine {
		chain pre { type filter hook prerouting priority raw; policy accept
			icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
			fib saddr . iif oif missing drop
		}
	}`)
	l.expect("before anything is done", all(silent))
	l.settle(f, sb)
	l.expect("checked at prerouting", all(open))
	l.nft("delete table inet mine")
	for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
		l.run("", program, "-t", "mangle", "-A", "PREROUTING", "-m", "rpfilter", "--validmark", "--invert", "-j", "DROP")
	}
	l.expect("checked by iptables with the mark", all(open))
}

// Fifty at a time put one rule a chain.
func TestManyAtOnce(t *testing.T) {
	l, f, sb := published(t, nil)
	l.rules("ufw.rules")
	l.rules("ufw.rules6")
	errs := make(chan error)
	for range 50 {
		go func() {
			_, err := f.Ensure(sb)
			errs <- err
		}()
	}
	for range 50 {
		l.ok(<-errs)
	}
	for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
		if rules := l.run("", program, "-S", "FORWARD"); strings.Count(rules, "-j ACCEPT") != 2 {
			t.Errorf("%s lists\n%s", program, rules)
		}
	}
}

// The rules of the kernel's older packet filter decide as well; people are told
// what they may have to do.
func TestLegacy(t *testing.T) {
	l, f, sb := published(t, nil)
	for _, program := range []string{"iptables-legacy", "ip6tables-legacy"} {
		l.run("", program, "-P", "INPUT", "DROP")
		l.run("", program, "-A", "INPUT", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
	}
	l.run("", "ip6tables-legacy", "-A", "INPUT", "-p", "icmpv6", "-j", "ACCEPT")
	l.expect("closed by iptables-legacy", all(silent))
	l.run("", "iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
	l.expect("opened by iptables-legacy", map[string]outcome{"tcp4": open, "udp4": silent, "tcp6": silent})
	f.Host = nil
	l.host.Do(func() {
		for _, want := range []int{1, 0} {
			notes, err := f.Ensure(sb)
			if err != nil || len(notes) != want {
				t.Errorf("told %q, %v", notes, err)
			}
			if want == 1 && !strings.HasPrefix(notes[0], "there are rules of ip6tables-legacy, iptables-legacy ") {
				t.Errorf("told %q", notes)
			}
		}
	})
}
