package firewall

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"loper.run/network"
	"loper.run/test/env"
)

// Many connections at once lose nothing on their way through the gate: the first
// packet of none is sent a second time.
func TestManyConnections(t *testing.T) {
	l, f, sb := published(t, nil)
	l.rules("firewalld.nft")
	l.nft("add rule inet firewalld filter_IN_public_allow tcp dport 8080 accept")
	l.settle(f, sb)
	for _, to := range []string{host4, host6} {
		const each = 40
		results := make(chan error)
		for range 8 {
			go l.client.Do(func() {
				for range each {
					c, err := net.DialTimeout("tcp", net.JoinHostPort(to, "8080"), 900*time.Millisecond) // a second try comes after 1 s
					if err == nil {
						c.Close()
					}
					results <- err
				}
			})
		}
		for range 8 * each {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	}
}

// What is long comes whole: datagrams in pieces, and streams with checksums that
// nobody has computed yet.
func TestLong(t *testing.T) {
	l, _, _ := published(t, nil)
	for _, to := range []string{host4, host6} {
		for _, size := range []int{1, 1472, 1473, 4000, 60000} {
			var c net.Conn
			var err error
			l.client.Do(func() { c, err = net.Dial("udp", net.JoinHostPort(to, "8080")) })
			l.ok(err)
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, err = c.Write(make([]byte, size))
			l.ok(err)
			answer := make([]byte, 100)
			n, err := c.Read(answer)
			if _, got, _ := strings.Cut(string(answer[:n]), "\n"); err != nil || got != strconv.Itoa(size) {
				t.Errorf("%d bytes to %s: %q, %v", size, to, got, err)
			}
			c.Close()
		}
		var c net.Conn
		var err error
		l.client.Do(func() { c, err = net.Dial("tcp", net.JoinHostPort(to, "8080")) })
		l.ok(err)
		data := bytes.Repeat([]byte("0123456789abcdef"), 20000)
		go func() {
			_, _ = c.Write(data)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		got, err := io.ReadAll(c)
		if _, got, _ := bytes.Cut(got, []byte("\n")); err != nil || !bytes.Equal(got, data) {
			t.Errorf("a stream to %s came back with %d bytes of %d: %v", to, len(got), len(data), err)
		}
		c.Close()
	}
}

// What a container has to say against a packet gets back to who sent it.
func TestContainerRefuses(t *testing.T) {
	l, _, _ := published(t, func(sb *network.Sandbox) {
		for i := range sb.Ports {
			sb.Ports[i].ContainerPort = 81 // where nobody listens
		}
	})
	l.expect("a port that nobody listens at", all(refused))
}

// A container comes to its own network's published ports by the host's address,
// if the host's firewall lets it.
func TestHairpin(t *testing.T) {
	l, f, sb := published(t, nil)
	for _, to := range []string{host4, host6, "10.89.0.1", "fd00:89::1"} {
		for _, kind := range []string{"tcp", "udp"} {
			if got, _, took := l.outcome(l.container, kind, net.JoinHostPort(to, "8080")); got != open {
				t.Errorf("%s to %s is %s after %v", kind, to, got, took)
			}
		}
	}
	l.nft(`table inet filter { chain input { type filter hook input priority filter; policy accept
		iifname loper0 tcp dport 8080 reject with tcp reset
	}
	}`)
	l.settle(f, sb)
	if _, _, err := l.dial(l.container, "tcp", host4+":8080"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the host's firewall refuses containers, and they got %v", err)
	}
	l.expect("others come in", all(open))
	// The host's own come by no INPUT but lo's, which is open.
	for _, to := range []string{"127.0.0.1", host4, host6} {
		if got, _, took := l.outcome(l.host, "tcp", net.JoinHostPort(to, "8080")); got != open {
			t.Errorf("from the host to %s is %s after %v", to, got, took)
		}
	}
}

// Where bridges show the packet filter what crosses them, nothing is published on
// ::1, and who tries it is told at once.
func TestDeafLoopback(t *testing.T) {
	l, f, _ := published(t, nil)
	filtered := false
	l.host.Do(func() {
		_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
		filtered = err == nil
	})
	if !filtered {
		t.Skip("this kernel's bridges don't show the packet filter what crosses them")
	}
	for value, want := range map[string]outcome{"0": open, "1": refused} {
		l.settings(l.host, map[string]string{"bridge/bridge-nf-call-ip6tables": value})
		l.ok(f.Repair())
		for _, kind := range []string{"tcp", "udp"} {
			if got, _, took := l.outcome(l.host, kind, "[::1]:8080"); got != want {
				t.Errorf("bridge-nf-call-ip6tables=%s: %s is %s after %v, not %s", value, kind, got, took, want)
			}
		}
		l.expect("others", all(open))
	}
}

// Who saves the rules of the host and loads them when there is no gate has the
// same rules, and published ports are closed until the next command.
func TestSaved(t *testing.T) {
	l, f, _ := published(t, nil)
	table := TableName(f.Store.Root)
	save := func() (rules string) {
		for _, family := range []string{"bridge", "ip", "ip6"} {
			rules += l.run("", "nft", "-s", "list", "table", family, table)
		}
		return rules
	}
	rules := save()
	l.ok(l.host.IP("link", "del", gateOf(table).in))
	l.nft("flush ruleset\n" + rules)
	if again := save(); again != rules {
		t.Errorf("saved\n%sand loaded\n%s", rules, again)
	}
	l.expect("saved and loaded", all(silent))
	if got, _, _ := l.outcome(l.client, "tcp", host4+":8079"); got != refused {
		t.Errorf("another port of the host is %s", got)
	}
	l.ok(f.Repair())
	l.expect("repaired", all(open))
}

// Only the host's own rules put packets into the gate: what others send to where it is would go round in it until its time
// is over.
func TestNothingIsForwardedIntoTheGate(t *testing.T) {
	l, f, sb := published(t, nil)
	l.settle(f, sb)
	g := gateOf(TableName(f.Store.Root))
	passed := func() (n int) {
		l.host.Do(func() {
			text, err := os.ReadFile("/proc/thread-self/net/dev")
			l.ok(err)
			_, line, _ := strings.Cut(string(text), g.out+":")
			n, err = strconv.Atoi(strings.Fields(line)[9]) // packets sent
			l.ok(err)
		})
		return n
	}
	l.ok(l.client.IP("-6", "route", "add", g.gateway6().String(), "via", host6))
	for _, from := range []*env.Netns{l.client, l.container} {
		before := passed()
		from.Do(func() {
			c, err := net.Dial("udp", net.JoinHostPort(g.gateway6().String(), "8080"))
			l.ok(err)
			defer c.Close()
			for range 10 {
				_, _ = c.Write([]byte("x"))
			}
			_ = c.SetDeadline(time.Now().Add(wait))
			if n, _ := c.Read(make([]byte, 10)); n > 0 {
				t.Error("somebody answers")
			}
		})
		if n := passed() - before; n > 9 {
			t.Errorf("10 packets make %d in the gate", n)
		}
	}
}

// An ordinary user may bind a socket to any interface. What it sends by the gate's end is not let in for that, and gets past
// no rule of the host's output.
func TestSocketAtTheGate(t *testing.T) {
	l, f, sb := published(t, nil)
	l.settle(f, sb)
	g := gateOf(TableName(f.Store.Root))
	l.nft("table inet own { chain out { type filter hook output priority 0; oifname eth0 udp dport 7 drop; }; }")
	for _, at := range []struct {
		who     *env.Netns
		address string
		to      string
	}{
		{l.client, client4 + ":7", client4 + ":7"}, {l.client, "[" + client6 + "]:7", "[" + client6 + "]:7"},
		{l.container, inside4 + ":7", inside4 + ":7"}, {l.container, "[" + inside6 + "]:7", "[" + inside6 + "]:7"},
		{l.container, inside4 + ":7", "192.0.2.77:8080"}, {l.container, "[" + inside6 + "]:7", "[2001:db8:77::1]:8080"},
	} {
		var heard net.PacketConn
		var err error
		at.who.Do(func() { heard, err = net.ListenPacket("udp", at.address) })
		l.ok(err)
		l.host.Do(func() {
			d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
				var err error
				_ = c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), g.out) })
				return err
			}}
			c, err := d.Dial("udp", at.to)
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = c.Write([]byte("x"))
			_ = c.SetDeadline(time.Now().Add(wait / 2))
			if n, _ := c.Read(make([]byte, 10)); n > 0 {
				t.Errorf("%s answers by the gate", at.to)
			}
		})
		_ = heard.SetDeadline(time.Now().Add(wait / 2))
		if n, _, _ := heard.ReadFrom(make([]byte, 10)); n > 0 {
			t.Errorf("%s is reached by the gate", at.to)
		}
		heard.Close()
	}
}
