package e2e_test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"loper.run/test/env"
)

// outsider is a neighbour of an engine's host.
type outsider struct {
	t testing.TB
	*env.Netns
}

// behindWire is an engine with a host of its own, 192.0.2.1 and 2001:db8::1, which has a neighbour.
func behindWire(t testing.TB) (*engine, outsider) {
	t.Helper()
	host, o := env.TestNetns(t), outsider{t, env.TestNetns(t)} // the engine cleans up in it, before it goes
	if err := env.Wire(host, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}, o.Netns, "eth0", []string{"192.0.2.2/24", "2001:db8::2/64"}); err != nil {
		t.Fatal(err)
	}
	e := asRoot(t).busybox()
	e.host = host
	return e, o
}

// reads is what a web server says, or "" when it isn't reached.
func (o outsider) reads(address string) (said string) {
	o.Do(func() {
		c, err := net.DialTimeout("tcp", address, 700*time.Millisecond)
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		b, _ := io.ReadAll(io.LimitReader(c, 10000))
		_, body, _ := strings.Cut(string(b), "\r\n\r\n")
		said = strings.TrimSpace(body)
	})
	return said
}

func (o outsider) expect(what, want string, addresses ...string) {
	o.t.Helper()
	for _, a := range addresses {
		if got := o.reads(a); got != want {
			o.t.Errorf("%s: %s says %q, want %q", what, a, got, want)
		}
	}
}

// hostRuns runs a program in the engine's host.
func (e *engine) hostRuns(input string, args ...string) string {
	e.t.Helper()
	env.Need(e.t, args[0])
	var out []byte
	var err error
	e.host.Do(func() {
		c := exec.Command(args[0], args[1:]...)
		c.Stdin = strings.NewReader(input)
		out, err = c.CombinedOutput()
	})
	if err != nil {
		e.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// A published port obeys the host's firewall, from the start over a flush of everything to the end, and with the last
// network nothing is left.
func TestHostFirewall(t *testing.T) {
	e, o := behindWire(t)
	for _, family := range []string{"", "6"} {
		rules, err := os.ReadFile(filepath.Join(env.Source(), "network/firewall/testdata/ufw.rules"+family))
		if err != nil {
			t.Fatal(err)
		}
		e.hostRuns(string(rules), "ip"+family+"tables-nft-restore", "-n")
	}
	before := e.hostRuns("", "nft", "-s", "list", "ruleset")
	e.must("network", "create", "--ipv6", "net")
	serve := func(name, port string, more ...string) result {
		t.Helper()
		args := append([]string{"run", "-d", "--name", name, "--network", "net", "-p", port + ":7"}, more...)
		r := e.run(append(args, "busybox", "sh", "-c", "echo "+name+" > /tmp/index.html && exec httpd -f -p 7 -h /tmp")...)
		if r.code != 0 {
			t.Fatal(r)
		}
		return r
	}
	const web4, web6, open4 = "192.0.2.1:8080", "[2001:db8::1]:8080", "192.0.2.1:8081"
	said := serve("web", "8080").stderr
	if !strings.Contains(said, "(ufw)") || !strings.Contains(said, "ufw allow 8080/tcp") || strings.Count(said, "\n") != 1 {
		t.Errorf("run said %q", said)
	}
	if said := serve("open", "8081", "--publish-open").stderr; said != "" {
		t.Errorf("run --publish-open said %q", said)
	}
	o.expect("closed by ufw", "", web4, web6)
	for try := 0; o.reads(open4) == "" && try < 50; try++ {
		time.Sleep(100 * time.Millisecond) // its server starts
	}
	o.expect("published past ufw", "open", open4)
	e.hostRuns("", "iptables-nft", "-A", "ufw-user-input", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
	e.hostRuns("", "ip6tables-nft", "-A", "ufw6-user-input", "-p", "tcp", "--dport", "8080", "-j", "ACCEPT")
	o.expect("opened in ufw", "web", web4, web6)
	e.must("rm", "-f", "web")
	if said := serve("web", "8080").stderr; said != "" {
		t.Errorf("run said again %q", said)
	}
	o.expect("started again", "web", web4, web6)
	// Out of the container.
	o.Do(func() {
		l, err := net.Listen("tcp", "192.0.2.2:9")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				_, _ = c.Write([]byte("outside\n"))
				c.Close()
			}
		}()
	})
	expect(t, "from inside", e.must("exec", "web", "sh", "-c", "sleep 5 | nc -w 5 192.0.2.2 9"), "outside")

	e.hostRuns("", "nft", "flush", "ruleset")
	names := strings.Fields(e.must("network", "reload"))
	slices.Sort(names)
	expect(t, "reload", strings.Join(names, " "), "open web")
	o.expect("after reload", "web", web4, web6)
	o.expect("after reload", "open", open4)
	e.hostRuns("", "nft", "flush", "ruleset")
	serve("next", "8082")
	o.expect("after a flush and a start", "web", web4, web6)

	for _, family := range []string{"", "6"} {
		rules, _ := os.ReadFile(filepath.Join(env.Source(), "network/firewall/testdata/ufw.rules"+family))
		e.hostRuns(string(rules), "ip"+family+"tables-nft-restore", "-n")
	}
	e.must("network", "reload", "web")
	e.must("rm", "-f", "web", "open", "next")
	e.must("network", "rm", "net")
	if after := e.hostRuns("", "nft", "-s", "list", "ruleset"); after != before {
		t.Errorf("left behind: rules\n%sthat were\n%s", after, before)
	}
	if left := e.hostRuns("", "ip", "-o", "link"); strings.Count(left, "\n") != 2 {
		t.Errorf("left behind: interfaces\n%s", left)
	}
	for _, family := range []string{"-4", "-6"} {
		if left := e.hostRuns("", "ip", family, "rule"); strings.Contains(left, "fwmark") {
			t.Errorf("left behind: rules of routing\n%s", left)
		}
	}
}

// An ordinary user's networks are put back too, and a second time changes nothing.
func TestNetworkReload(t *testing.T) {
	for who, as := range map[string]func(*testing.T) *engine{
		"root": func(t *testing.T) *engine { return asRoot(t) }, "user": func(t *testing.T) *engine { return asUser(t, true) },
	} {
		t.Run(who, func(t *testing.T) {
			e := as(t).busybox()
			expect(t, "without containers", e.must("network", "reload"), "")
			e.must("network", "create", "reloaded")
			e.start("--name", "web", "--network", "reloaded", "busybox", "sh", "-c", "echo here > /tmp/index.html && exec httpd -f -p 80 -h /tmp")
			e.start("--name", "client", "--network", "reloaded", "busybox", "sleep", "1000")
			for _, args := range [][]string{{"web"}, {"--all"}} {
				e.must(append([]string{"network", "reload"}, args...)...)
				address, _, _ := strings.Cut(e.lookUp("client", "web"), " ")
				if address == "" {
					t.Fatal("nobody knows web after reload")
				}
				said := e.must("exec", "client", "sh", "-c", `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 `+address+" 80")
				if !strings.HasSuffix(said, "here") {
					t.Errorf("web after reload says %q", said)
				}
			}
			e.mustFail(1, []string{"No such container", "nobody"}, "network", "reload", "nobody")
			e.must("rm", "-f", "client")
			e.start("--name", "alone", "--network", "none", "busybox", "sleep", "1000")
			expect(t, "no networks", e.must("network", "reload", "alone"), "alone")
			e.must("stop", "-t", "0", "web")
			e.mustFail(1, []string{"not running"}, "network", "reload", "web")
		})
	}
}
